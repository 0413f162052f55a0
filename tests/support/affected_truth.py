"""Edits of a small repository at random, and the truth of which images they concern: what builds are given and sent.

The truth is asked of two checkouts, the revision's and the one that was edited: of the bake definition with the hash of
all that the mirrors hold, and of what the Dockerfiles say.
"""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from kiro_invoke import config
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.builds.sending import mirrored
from kiro_invoke.cache import warm
from kiro_invoke.commands import affecting
from kiro_invoke.commands.surface import Surface
from kiro_invoke.screen import Paper
from tests.support.repository import git, write_texts

MANIFEST = '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\nfnv = "1"\n'
LOCK = 'version = 4\n\n[[package]]\nname = "api"\nversion = "0.1.0"\n'
KIRO = """\
project: shop
build_args:
  LEVEL: 1
  UNSEEN: 1
services:
  - name: api
  - name: web
  - name: all
    context: .
    dockerfile: deploy/all.Dockerfile
    dependency_inputs: [shared/schema.sql]
"""
FILES: dict[str, str | None] = {
    ".gitignore": ".kiro\n*.env\n",
    "kiro.yaml": KIRO,
    "compose.yaml": "services: {}\n",
    "README.md": "x\n",
    "api/.dockerignore": "target\n*.md\n!KEEP.md\nDockerfile*\n",
    "api/Cargo.toml": MANIFEST,
    "api/Cargo.lock": LOCK,
    "api/README.md": "x\n",
    "api/KEEP.md": "x\n",
    "api/src/main.rs": "fn main() {}\n",
    "api/src/lib.rs": "// lib\n",
    "api/Dockerfile": "FROM rust:1 AS cook\nRUN cook\nFROM debian AS run\nCOPY --from=cook /x /x\nCOPY . .\n",
    "api/Dockerfile.fast": "FROM rust:1 AS cook\nARG LEVEL\nRUN cook\n# a comment\nFROM cook AS dev\nCOPY . .\n",
    "api/Other.fast": "FROM rust:2 AS cook\nRUN cook\nFROM cook AS dev\nCOPY . .\n",
    "web/Dockerfile.fast": "FROM node:24 AS dev\nCOPY . .\n",
    "web/Dockerfile": "FROM node:24 AS run\nCOPY . .\n",
    "web/Dockerfile.dockerignore": "tests\n",
    "web/package.json": json.dumps({"name": "web", "version": "1.0.0", "dependencies": {"a": "1"}}),
    "web/package-lock.json": json.dumps({"name": "web", "lockfileVersion": 3, "packages": {}}),
    "web/src/main.js": "1\n",
    "web/tests/main.test.js": "1\n",
    "deploy/all.Dockerfile": "FROM debian AS run\nCOPY shared web ./\n",
    "deploy/all.Dockerfile.dockerignore": "*\n!shared\n!web/src\n",
    "shared/schema.sql": "1\n",
    "shared/text.sh": "echo 1\n",
}

Edit = Callable[[Path, random.Random], None]


def _writes(path: str, text: str) -> Edit:
    def edit(root: Path, _dice: random.Random) -> None:
        write_texts(root, {path: text})

    return edit


def _replaces(path: str, old: str, new: str) -> Edit:
    def edit(root: Path, _dice: random.Random) -> None:
        file = root / path
        if file.is_file():
            file.write_bytes(file.read_bytes().replace(old.encode(), new.encode()))

    return edit


def _changes_a_file(root: Path, dice: random.Random) -> None:
    """Any of them but what the tool itself cannot do without."""
    files = [
        path
        for path in FILES
        if path.startswith(("api/src", "web/src", "web/tests", "shared", "api/K", "README"))
    ]
    path = root / dice.choice(files)
    if not path.is_file():
        return
    match dice.randrange(6):
        case 0:
            path.write_text(f"{dice.random()}\n")
        case 1:
            path.unlink()
        case 2:
            path.rename(path.with_name(f"renamed{dice.randrange(3)}"))
        case 3:
            path.chmod(0o755)
        case 4:
            path.unlink()
            path.symlink_to(dice.choice(["lib.rs", "nowhere", "main.rs"]))
        case 5:
            path.touch()


def _line_ends(root: Path, _dice: random.Random) -> None:
    """As a checkout with these attributes gives it; to git the file is the same."""
    file = root / "shared/text.sh"
    if file.is_file() and not file.is_symlink():
        (root / ".gitattributes").write_text("*.sh text eol=crlf\n")
        file.write_bytes(file.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


EDITS: tuple[Edit, ...] = (
    *[_changes_a_file] * 8,
    _line_ends,
    _writes("api/src/new.rs", "1"),
    _writes("api/secret.env", "1"),
    _writes("web/src/deep/er/new.js", "1"),
    _writes("shared/new.md", "1"),
    _writes("notes.txt", "1"),
    _writes("compose.yaml", "services: {api: {image: x}}\n"),
    _replaces("api/Cargo.toml", 'fnv = "1"', 'fnv = "2"'),
    _replaces("api/Cargo.toml", "[dependencies]", "[dependencies"),
    _replaces("web/package.json", '"1.0.0"', '"1.0.1"'),
    _replaces("api/.dockerignore", "*.md\n", ""),
    _replaces("api/.dockerignore", "target\n", "target\nsrc/lib.rs\n"),
    _replaces("api/.dockerignore", "target\n", "# comment\ntarget\n"),
    _replaces("web/Dockerfile.dockerignore", "tests", "src"),
    _writes("web/Dockerfile.fast.dockerignore", "src\n"),
    _replaces("deploy/all.Dockerfile.dockerignore", "!web/src", "!web/src\n!web/tests"),
    _replaces("api/Dockerfile", "RUN cook", "RUN cook --all"),
    _replaces("api/Dockerfile.fast", "# a comment", "# another"),
    _replaces("api/Dockerfile.fast", "rust:1", "rust:2"),
    _replaces("deploy/all.Dockerfile", "COPY", "COPY --chmod=0755"),
    _replaces("kiro.yaml", "LEVEL: 1", "LEVEL: 2"),
    _replaces("kiro.yaml", "UNSEEN: 1", "UNSEEN: 2"),
    _replaces("kiro.yaml", "services:", "base_images:\n  debian: mirror.example/debian\nservices:"),
    _replaces("kiro.yaml", "services:", "secrets:\n  - id: token\n    env: TOKEN\nservices:"),
    _replaces("kiro.yaml", "services:", "metrics:\n  record: false\nservices:"),
    _replaces("kiro.yaml", "- name: api\n", "- name: api\n    fast_dockerfile: Other.fast\n"),
    _replaces("kiro.yaml", "- name: api\n", "- name: api\n    context: api\n"),
    _replaces("kiro.yaml", "- name: web\n", "- name: web\n    image: shop/page\n"),
    _replaces("kiro.yaml", "- name: web\n", "- name: web\n    ecosystem: other\n"),
    _replaces("kiro.yaml", "  - name: web\n", "  - name: more\n    context: web\n  - name: web\n"),
    _replaces("kiro.yaml", "project: shop\n", "# comment\nproject: shop\n"),
    _replaces("kiro.yaml", "project: shop\n", "project: store\n"),
)


#: What is known by this number: a file that the revision has lies there as it was, and git knows it no more.
UNTRACKED = -1


class Checkout:
    """A repository with a commit that is called `then`, and what builds of it were given."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "shop"
        write_texts(self.root, FILES)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit()
        self.git("tag", "then")
        other = folder / "elsewhere" / "shop"
        self.git("worktree", "add", "--quiet", str(other), "then")
        self.then = truth(other)

    def git(self, *words: str) -> str:
        return git("-C", str(self.root), *words)

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=it")

    def edited(self, dice: random.Random) -> list[int]:
        """Some edits from the revision on: left as they are, staged, or committed."""
        self.git("reset", "--quiet", "--hard", "then")
        self.git("clean", "-qfdx", "--exclude=.kiro")
        if dice.random() < 0.3:
            shutil.rmtree(self.root / ".kiro", ignore_errors=True)
        numbers = dice.sample(range(len(EDITS)), dice.choice((1, 1, 2, 3)))
        for number in numbers:
            EDITS[number](self.root, dice)
        match dice.randrange(4):
            case 0:
                self.commit()
            case 1:
                self.git("add", "--all")
            case 2:
                numbers.append(UNTRACKED)
                self.git("rm", "--quiet", "--cached", "--force", "--ignore-unmatch", "web/src/main.js")
        return numbers


def truth(root: Path) -> dict[tuple[str, Profile], object]:
    """What each image of a checkout is made from."""
    found: dict[tuple[str, Profile], object] = {}
    project = config.load(root, {"TOKEN": "x"})
    project.state.mkdir(exist_ok=True)
    for service in project.services:
        one = project.only([service.name])
        for recipe in warm.read_recipes(one, tuple(Profile)):
            prepared = warm.prepare(one, (recipe,), lambda recipes: plan_images(recipes, "it"), ())
            with mirrored((recipe,), one, waiting=pytest.fail) as sending:
                revision = sending[service.name, recipe.path].revision
            text = recipe.path.read_text()
            (target,) = json.loads(prepared.definition)["target"].values()
            # an argument that is named nowhere reaches nothing
            args = {
                name: value
                for name, value in target.pop("args", {}).items()
                if re.search(rf"\b{name}\b", text)
            }
            target = json.loads(json.dumps(target).replace(str(root), "").replace(project.checkout, ""))
            stages = [(s.raw, *(each.raw for each in s.instructions)) for s in parse(text).stages]
            found[service.name, recipe.profile] = (revision, target, args, stages, parse(text).preamble)
    return found


def check(checkout: Checkout, seed: int) -> str:
    """Compare one random edit with the truth; what made it conservative, if that was so."""
    dice = random.Random(seed)
    edits = checkout.edited(dice)
    now = truth(checkout.root)
    project = config.load(checkout.root, {})
    nowhere = Console(file=io.StringIO())
    surface = Surface(Paper(lambda: nowhere), Paper(lambda: nowhere), {}, checkout.root, None)
    found = affecting.compare(project, "then", surface)
    told = {(one.service, profile) for one in found.verdicts for profile in one.images}
    true = {image for image in now if now[image] != checkout.then.get(image)}
    assert true <= told, f"seed {seed}, edits {edits}: missed {true - told}"
    alone = affecting.compare(project, "then", surface, Profile.PROD)
    assert set(alone.affected) == {service for service, profile in told if profile is Profile.PROD}
    if true == told:
        return ""
    attributes = any(one.reason.path == ".gitattributes" for one in found.verdicts)
    assert attributes or UNTRACKED in edits, f"seed {seed}, edits {edits}: {told - true}"
    return ".gitattributes" if attributes else "untracked"
