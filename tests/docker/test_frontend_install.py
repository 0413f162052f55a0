"""The front end's install in a kept tree: whatever happened before, it equals a clean `npm ci`.

The stages are those of frontend/Dockerfile.fast; beside them stands a stage with a plain `npm ci`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.dockerfile import parse
from tests.support.engine import ROOT, Ran, command, docker

pytestmark = pytest.mark.docker

FAST = ROOT / "frontend/Dockerfile.fast"
Lock = dict[str, dict[str, Any]]

#: Small packages of the public registry, by name and version: what a lockfile tells of them.
KNOWN: Lock = json.loads((Path(__file__).parent / "data/small-packages.json").read_text())

#: Stands before npm in PATH: the real one, and then what the test wants.
SHIM = """\
#!/bin/sh
PATH=${PATH#/usr/local/sbin:} npm "$@" || exit
. /test/behaviour
"""
LISTING = r"""
cd "$1" || exit
find . -mindepth 1 -type d -empty -prune -o -mindepth 1 -printf '%P %y %m %l\n' | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum
"""
#: Comes by a mount: with a secret in the same step, BuildKit reads the whole image again after a COPY.
INPUTS = "--mount=type=bind,from=inputs,source=/kiro/test,target=/test"
SHIMMED = f"COPY --chmod=755 <<'SHIM' /usr/local/sbin/npm\n{SHIM}SHIM\nARG FLAVOUR"
BESIDE = f"""
FROM base AS clean
{SHIMMED}
COPY --from=planner /kiro/plan/ ./
RUN {INPUTS} \\
    --mount=type=cache,id=kiro-npm,target=/root/.npm,sharing=locked \\
    npm ci --prefer-offline --no-audit --no-fund
FROM base AS listed
COPY <<'LISTING' /listing.sh
{LISTING}
LISTING
RUN --mount=type=bind,from=install,source=/app/node_modules,target=/installed \\
    --mount=type=bind,from=clean,source=/app/node_modules,target=/clean \\
    mkdir -p /kiro/lists && sh /listing.sh /installed >/kiro/lists/installed && sh /listing.sh /clean >/kiro/lists/clean
FROM scratch AS lists
COPY --from=listed /kiro/lists/ /
"""


@dataclass(frozen=True)
class Installed:
    """What an install made, what a clean one makes of the same project, and what the installer said."""

    tree: str
    clean: str
    said: tuple[str, ...]


@dataclass
class Project:
    """A small project that is built again and again, with mounts of its own."""

    folder: Path
    namespace: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    holds: Mapping[str, str] | None = None

    def write(self, packages: Mapping[str, str]) -> None:
        """Lock packages, by their place below node_modules -> name@version; those at the top are asked for."""
        locked: Lock = {}
        wanted: dict[str, str] = {}
        for place, package in packages.items():
            name, _, version = package.rpartition("@")
            locked[f"node_modules/{place}"] = {"version": version, **KNOWN[package]}
            if place == name and not KNOWN[package].get("optional"):
                wanted[name] = version
        optional = {
            n: p["version"] for n, p in ((k[13:], v) for k, v in locked.items()) if p.get("os") == ["darwin"]
        }
        ranges = {"dependencies": wanted, "optionalDependencies": optional}
        lock = {
            "name": "small", "version": "1.0.0", "lockfileVersion": 3, "requires": True,
            "packages": {"": {"name": "small", "version": "1.0.0", **ranges}, **dict(sorted(locked.items()))},
        }  # fmt: skip
        self.folder.mkdir(exist_ok=True)
        (self.folder / "package.json").write_text(json.dumps({"name": "small", "version": "1.0.0", **ranges}))
        (self.folder / "package-lock.json").write_text(json.dumps(lock, indent=2) + "\n")

    def install(self, packages: Mapping[str, str], **options: str) -> Installed:
        """Write the project and install it; the install's step runs, whatever is cached."""
        self.write(packages)
        out = self.folder.parent / f"lists-{next(self.numbers)}"
        ran = self.build("lists", f"--output=type=local,dest={out}", **options)
        assert ran.code == 0, ran.err[-3000:]
        self.holds = packages
        said = tuple(re.findall(r"^#\d+ [\d.]+ kiro: (.*)$", ran.err, re.MULTILINE))
        return Installed((out / "installed").read_text(), (out / "clean").read_text(), said)

    def build(
        self, target: str, *arguments: str, behaviour: str = "", image: str = "", flavour: str = ""
    ) -> Ran:
        self.holds = None
        return command(
            *self.argv(target, image, flavour), *arguments, stdin=self.dockerfile(behaviour), timeout=300
        )

    def argv(self, target: str, image: str = "", flavour: str = "") -> list[str]:
        options = [f"BUILDKIT_CACHE_MOUNT_NS={self.namespace}", f"FLAVOUR={flavour}"]
        options += [f"NODE_IMAGE={image}"] if image else []
        given = [word for option in options for word in ("--build-arg", option)]
        words = ["docker", "buildx", "build", "--progress=plain", f"--target={target}", "-f", "-", *given]
        return [*words, str(self.folder)]

    def dockerfile(self, behaviour: str = "", more: str = "") -> str:
        """The shipped file up to its install, whose step each call makes a new one."""
        lines = FAST.read_text().splitlines()
        stage = parse("\n".join(lines)).stage("install")
        assert stage is not None
        step = stage.instructions[-1]
        assert step.keyword == "RUN"
        inputs = f"FROM base AS inputs\nCOPY <<'BEHAVIOUR' /kiro/test/behaviour\n{behaviour}\nBEHAVIOUR\n"
        inputs += f"COPY <<NUMBER /kiro/test/number\n{self.namespace} {next(self.numbers)}\nNUMBER\n"
        lines[step.line - 1] = lines[step.line - 1].replace("RUN ", f"{SHIMMED}\nRUN {INPUTS} ", 1)
        lines.insert(stage.line - 1, inputs)
        return "\n".join([*lines[: step.last_line + 1], BESIDE, more])

    def meddle(self, script: str) -> None:
        """Run a shell script in the kept tree, behind the installer's back."""
        (mount,) = re.findall(r"--mount=\S+,target=/modules,\S+", FAST.read_text())
        new = f"set -eu # {next(self.numbers)}\ncd /modules/node_modules"
        more = f"FROM base AS meddled\nRUN {mount} <<'SCRIPT'\n{new}\n{script}\nSCRIPT\n"
        ran = command(*self.argv("meddled"), stdin=self.dockerfile(more=more))
        assert ran.code == 0, ran.err[-2000:]


@pytest.fixture(scope="module")
def project(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    namespace = f"kiro-test-{os.getpid()}"
    yield Project(tmp_path_factory.mktemp("install") / "small", namespace)
    used = docker("buildx", "du", "--verbose")
    records = [
        re.search(r"^ID:\s+(\S+)", r, re.MULTILINE) for r in used.split("\n\n") if f'"{namespace}/' in r
    ]
    if ids := "|".join(match[1] for match in records if match):
        docker("buildx", "prune", "--force", "--filter", f"id=^({ids})$")


TWO = {"ms": "ms@2.0.0", "semver": "semver@7.6.3"}


def same(installed: Installed) -> Installed:
    assert installed.tree == installed.clean
    return installed


@pytest.fixture
def kept(project: Project) -> Project:
    """The project with TWO in its mount, whatever was there before."""
    if project.holds != TWO:
        same(project.install(TWO))
    return project


def test_edits_cost_no_clean_install_and_come_to_the_same(project: Project) -> None:
    nested = {"ms": "ms@2.0.0", "debug": "debug@4.3.6", "debug/node_modules/ms": "ms@2.1.2"}
    edits: dict[str, dict[str, str]] = {
        "added, with a program and a scope": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "removed": TWO,
        "added back": {**TWO, "mkdirp": "mkdirp@3.0.1", "@types/ms": "@types/ms@2.1.0"},
        "one inside another, programs removed": nested,
        "both in other versions": {**nested, "debug": "debug@4.3.7", "debug/node_modules/ms": "ms@2.1.3"},
        "hoisted, beside one of another system": {
            "ms": "ms@2.1.3", "debug": "debug@4.3.7", "fsevents": "fsevents@2.3.3"
        },
    }  # fmt: skip
    same(project.install(TWO))
    for edit, packages in edits.items():
        installed = project.install(packages)
        assert installed.tree == installed.clean, edit
        assert installed.said == (), edit
    assert "ms/package.json" in installed.tree
    assert "fsevents" not in installed.tree


def test_a_lockfile_that_changes_during_the_install_fails_it(kept: Project) -> None:
    kept.write({"ms": "ms@2.1.2"})
    ran = kept.build("install", behaviour="echo >>package-lock.json")
    assert ran.code != 0
    assert "kiro: package-lock.json changed during the install" in ran.err
    same(kept.install({"ms": "ms@2.1.3"}))


def test_a_lockfile_that_does_not_fit_package_json_fails_as_npm_ci_does(kept: Project) -> None:
    kept.write(TWO)
    manifest = kept.folder / "package.json"
    manifest.write_text(manifest.read_text().replace('"2.0.0"', '"2.1.3"'))
    ran = kept.build("install")
    assert ran.code != 0
    assert "Invalid: lock file's ms@2.0.0 does not satisfy ms@2.1.3" in ran.err


def test_a_killed_install_is_made_good(kept: Project) -> None:
    kept.write({"ms": "ms@2.1.3", "semver": "semver@7.6.3"})
    text = kept.dockerfile("rm -r node_modules/semver/functions; echo half done; sleep 300")
    build = subprocess.Popen(kept.argv("install"), stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert build.stdin is not None
    assert build.stderr is not None
    with build, build.stdin as sent:
        sent.write(text)
        sent.close()
        assert any(re.match(r"#\d+ [\d.]+ half done", line) for line in build.stderr)
        build.kill()
    same(kept.install({"ms": "ms@2.1.3", "semver": "semver@7.6.3"}))


def test_a_tree_that_somebody_touched_is_not_used(kept: Project) -> None:
    """Not even when the file has its old size and date."""
    kept.meddle("cd ms; cp -p index.js was; sed -i s/1000/1001/ index.js; touch -r was index.js; rm was")
    same(kept.install({**TWO, "mkdirp": "mkdirp@3.0.1"}))


def test_another_environment_may_mean_other_files(kept: Project) -> None:
    behaviour = 'echo "$FLAVOUR" >node_modules/ms/flavour'
    installed = same(kept.install(TWO, behaviour=behaviour, flavour="sweet"))
    assert installed.said[0] == "clean install: Node, npm, the environment or a setting changed"
    again = same(kept.install(TWO, behaviour=behaviour, flavour="sour"))
    assert again.tree != installed.tree


def test_another_base_image_starts_with_an_empty_mount(kept: Project) -> None:
    """Even where Node says the same of itself: what else is in the image may matter."""
    image = f"{kept.namespace}-node"
    docker("build", "--quiet", "--tag", image, "-", stdin="FROM node:24-trixie-slim\nRUN touch /other\n")
    try:
        installed = same(kept.install(TWO, image=image))
    finally:
        docker("rmi", image)
    assert installed.said == ("clean install: nothing is kept of a run that came to its end",)


def test_install_scripts_run_as_in_a_clean_install(kept: Project) -> None:
    """esbuild's replaces its program by one for this machine."""
    packages = {"esbuild": "esbuild@0.25.0", "@esbuild/linux-x64": "@esbuild/linux-x64@0.25.0"}
    installed = same(kept.install(packages))
    assert "node_modules/esbuild runs scripts when it is installed" in installed.said[-1]


def test_npms_settings_are_followed(kept: Project) -> None:
    (kept.folder / ".npmrc").write_text("bin-links=false\n")
    try:
        installed = same(kept.install(TWO))
    finally:
        (kept.folder / ".npmrc").unlink()
    assert ".bin" not in installed.tree
    assert ".bin" in same(kept.install(TWO)).tree
