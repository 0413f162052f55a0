"""`kiro classify` on repositories of its own: against the last build and against git, with no engine."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke import config
from kiro_invoke.builds import built, noting
from kiro_invoke.builds.planner import Profile
from kiro_invoke.builds.sending import mirrored
from kiro_invoke.cache import warm
from kiro_invoke.commands.classifying import classify
from kiro_invoke.commands.surface import Surface
from kiro_invoke.model.errors import ConfigError, UsageError
from kiro_invoke.screen import Paper
from tests.support.repository import git as run_git
from tests.support.repository import write_texts

SCHEMA = Path(__file__).parents[2] / "kiro_invoke" / "schemas" / "classify.json"
MANIFEST = '[package]\nname = "api"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\nfnv = "1"\n'
LOCK = (
    'version = 4\n\n[[package]]\nname = "api"\nversion = "0.1.0"\ndependencies = [\n "fnv",\n]\n\n[[package]]\n'
    'name = "fnv"\nversion = "1.0.7"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\n'
)
FAST = "FROM rust:1 AS cook\nRUN cook\n# a comment\nFROM cook AS dev\nCOPY . .\n"
FILES = {
    "kiro.yaml": "project: shop\nservices:\n  - name: api\n  - name: web\n",
    "README.md": "x\n",
    "api/.dockerignore": "target\n*.md\nDockerfile*\n",
    "api/Cargo.toml": MANIFEST,
    "api/Cargo.lock": LOCK,
    "api/src/main.rs": "fn main() {}\n",
    "api/Dockerfile.fast": FAST,
    "web/Dockerfile.fast": "FROM node:24 AS dev\nCOPY . .\n",
    "web/package.json": json.dumps({"name": "web", "version": "1.0.0", "dependencies": {"a": "1"}}),
    "web/package-lock.json": json.dumps({"name": "web", "lockfileVersion": 3, "packages": {}}),
    "web/src/main.js": "1\n",
}


@cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))


class Shop:
    """A repository with two services."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.out = io.StringIO()
        self.write(FILES)

    def write(self, texts: Mapping[str, str | None]) -> None:
        write_texts(self.root, texts)

    def build(self, *services: str, keeps: bool = True, profile: Profile = Profile.DEV) -> None:
        """What a build does besides the engine's part. Without `keeps` it failed."""
        project = config.load(self.root, {}, services=services)
        recipes = warm.read_recipes(project, (profile,))
        project.state.mkdir(exist_ok=True)
        with mirrored(recipes, project, waiting=pytest.fail) as sending:
            drawn = noting.draw_up(recipes, sending, project)
            if keeps:
                noting.keep(drawn.drawn)

    def git(self, *words: str) -> None:
        run_git("-C", str(self.root), *words)

    def commit(self) -> None:
        if not (self.root / ".git").exists():
            self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=it")

    def surface(self, folder: str = "") -> Surface:
        plain = Console(file=self.out, width=500, color_system=None, highlight=False, markup=False)
        return Surface(Paper(lambda: plain), Paper(lambda: plain), {}, self.root / folder, None)

    def rows(
        self,
        *paths: str,
        since: str | None = None,
        services: tuple[str, ...] = (),
        folder: str = "",
        prod: bool = False,
    ) -> list[dict[str, Any]]:
        answer = classify(paths, services, since=since, prod=prod)(self.surface(folder))
        found = [json.loads(json.dumps(row)) for row in answer.rows()]
        for row in found:
            validator().validate(row)
        return found

    def told(self, *paths: str, **how: Any) -> dict[str, tuple[str, str]]:
        """Kind and cause by path; of services in which nothing changed only if there is nothing else."""
        rows = self.rows(*paths, **how)
        changes = [row for row in rows if not row["cause"].startswith("nothing changed")]
        return {row["path"]: (row["kind"], row["cause"]) for row in changes or rows}

    def text(self, *paths: str, since: str | None = None) -> list[str]:
        surface = self.surface()
        classify(paths, (), since=since, prod=False)(surface).show(surface)
        return self.out.getvalue().splitlines()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "a shop")


@pytest.fixture
def standing(shop: Shop) -> Shop:
    """A repository whose images were built from what stands there."""
    shop.build()
    return shop


# --- against the last build


def test_what_was_never_built_is_built_whole(shop: Shop) -> None:
    assert shop.told() == {
        "api": ("BASE", "no build of api is on record here: all of it is built"),
        "web": ("BASE", "no build of web is on record here: all of it is built"),
    }


def test_after_a_build_nothing_changed(standing: Shop) -> None:
    cause = "nothing changed since its last build"
    assert standing.told() == {"api": ("IGNORED", cause), "web": ("IGNORED", cause)}
    assert standing.text()[-2:] == ["api: rebuilt: nothing", "web: rebuilt: nothing"]


def test_a_touched_file_is_no_change(standing: Shop) -> None:
    os.utime(standing.root / "api/src/main.rs")
    os.utime(standing.root / "api/Cargo.toml", (1, 1))
    assert {kind for kind, _ in standing.told().values()} == {"IGNORED"}


def test_each_change_by_what_it_means(standing: Shop) -> None:
    standing.write(
        {
            "api/src/main.rs": "fn main() { todo!() }\n",
            "api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n',
            "api/rust-toolchain.toml": '[toolchain]\nchannel = "1.90"\n',
            "web/package.json": json.dumps({"name": "web", "version": "2.0.0", "dependencies": {"a": "1"}}),
            "api/notes.md": "x",
            "compose.yaml": "services: {}\n",
        }
    )
    assert standing.told() == {
        "api/Cargo.toml": ("DEPENDENCY", "Cargo.toml: dependency `hex` added"),
        "api/rust-toolchain.toml": ("BASE", "rust-toolchain.toml: toolchain added"),
        "api/src/main.rs": ("SOURCE", "src/main.rs changed"),
        "web/package.json": ("SOURCE", "package.json: `version` changed; the dependency layer cannot see it"),
        "compose.yaml": ("CONFIG", "compose.yaml added"),
    }


def test_a_failed_build_is_no_build(standing: Shop) -> None:
    standing.write({"api/src/main.rs": "fn main() { todo!() }\n"})
    standing.build(keeps=False)
    assert standing.told()["api/src/main.rs"][0] == "SOURCE"
    standing.build()
    assert "api/src/main.rs" not in standing.told()


def test_an_image_is_compared_with_its_own_build(standing: Shop) -> None:
    """The other one was built since, from what is there now."""
    standing.write({"api/Dockerfile": FAST})
    standing.build("api")
    standing.write({"api/src/main.rs": "fn main() { todo!() }\n"})
    standing.build("api", profile=Profile.PROD)
    assert standing.told(services=("api",))["api/src/main.rs"][0] == "SOURCE"
    assert standing.told(services=("api",), prod=True)["api"][0] == "IGNORED"


def test_a_stage_of_the_dockerfile(standing: Shop) -> None:
    standing.write({"api/Dockerfile.fast": FAST.replace("RUN cook", "RUN cook --all")})
    assert standing.told(services=("api",)) == {
        "api/Dockerfile.fast": ("BASE", "api/Dockerfile.fast: stage `cook` changed")
    }


def test_comments_of_a_dockerfile_change_nothing(standing: Shop) -> None:
    standing.write({"api/Dockerfile.fast": FAST.replace("# a comment", "# another one\n")})
    assert standing.told(services=("api",))["api"][0] == "IGNORED"


def test_a_build_argument_that_the_dockerfile_sees(shop: Shop) -> None:
    shop.write({"api/Dockerfile.fast": f"{FAST}ARG LEVEL\n"})
    shop.build()
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}build_args:\n  LEVEL: 2\n  OTHER: 1\n"})
    found = shop.rows()
    assert [(row["service"], row["kind"], row["cause"]) for row in found] == [
        ("api", "BASE", "kiro.yaml: build argument `LEVEL` added"),
        ("", "CONFIG", "kiro.yaml changed"),
        ("web", "IGNORED", "nothing changed since its last build"),
    ]


def test_an_argument_of_the_whole_file_that_is_given_another_value(shop: Shop) -> None:
    shop.write({"api/Dockerfile.fast": f"ARG BASE=rust:1\n{FAST}"})
    shop.build()
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}build_args:\n  BASE: rust:2\n"})
    assert shop.told() == {
        "kiro.yaml": ("CONFIG", "kiro.yaml changed"),
    }
    assert shop.rows()[0]["cause"] == "kiro.yaml: build argument `BASE` added"


def test_a_build_argument_is_not_kept_in_the_clear(shop: Shop) -> None:
    shop.write({"api/Dockerfile.fast": f"{FAST}ARG LEVEL\n"})
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}build_args:\n  LEVEL: s3cr3t\n"})
    shop.build()
    for note in (shop.root / ".kiro" / "contexts").glob("*.built.json"):
        assert "s3cr3t" not in note.read_text()


def test_a_half_saved_manifest_and_its_recovery(standing: Shop) -> None:
    standing.write({"api/Cargo.toml": MANIFEST[:30]})
    kind, cause = standing.told()["api/Cargo.toml"]
    assert kind == "DEPENDENCY"
    assert "Cargo.toml:" in cause
    assert "the last good reading is kept" in cause
    standing.build(keeps=False)
    standing.write({"api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    assert standing.told()["api/Cargo.toml"] == ("DEPENDENCY", "Cargo.toml: dependency `hex` added")


def test_a_manifest_replaced_by_a_folder(standing: Shop) -> None:
    standing.write({"api/Cargo.toml": None, "api/Cargo.toml/x": "1"})
    found = standing.told()
    assert found["api/Cargo.toml"][0] == "DEPENDENCY"
    assert found["api/Cargo.toml/x"][0] in {"DEPENDENCY", "SOURCE"}


def test_a_file_that_cannot_be_read_is_named(standing: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(path: Any, *rest: Any, **more: Any) -> int:
        if path == "secret.rs":
            raise PermissionError(13, "Permission denied")
        return real(path, *rest, **more)

    standing.write({"api/src/secret.rs": "x"})
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ConfigError, match=r"src/secret\.rs: .*Permission denied"):
        standing.rows()


def test_odd_names_and_links_in_a_circle_end_nothing(standing: Shop) -> None:
    Path(os.fsdecode(os.fsencode(standing.root / "api") + b"/\xff.rs")).write_text("x")
    assert standing.told()["api/\udcff.rs"][0] == "SOURCE"
    (standing.root / "api/Cargo.lock").unlink()
    (standing.root / "api/Cargo.lock").symlink_to("Cargo.lock")
    assert standing.told()["api/Cargo.lock"][0] == "DEPENDENCY"


def test_a_damaged_note_is_no_note(standing: Shop) -> None:
    for note in (standing.root / ".kiro" / "contexts").glob("api-*.built.json"):
        note.write_text(note.read_text()[:-20])
    assert standing.told()["api"][0] == "BASE"


def test_a_note_without_its_snapshot_is_no_note(standing: Shop) -> None:
    """As a build leaves it that is killed between the two."""
    standing.write({"api/src/main.rs": "fn main() { todo!() }\n"})
    standing.build(keeps=False)
    place = standing.root / ".kiro" / "contexts"
    (record,) = (each for each in place.glob("api-*.snapshot") if "built" not in each.name)
    (place / f"{record.stem}-dev.built.snapshot").write_bytes(record.read_bytes())
    assert standing.told()["api"][0] == "BASE"


def test_a_note_of_another_version_is_no_note(standing: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(built, "__version__", "another")
    assert standing.told()["api"][0] == "BASE"


def test_a_file_system_without_hard_links(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    shop.build()
    assert shop.told()["api"][0] == "IGNORED"


# --- what is ignored


def test_litter_and_build_output_are_ignored_with_a_reason(standing: Shop) -> None:
    standing.write({"web/src/.main.js.swp": "1", "web/node_modules/.package-lock.json": "{}"})
    assert standing.told() == {
        "web/node_modules/.package-lock.json": (
            "IGNORED",
            "node_modules/.package-lock.json added: node_modules is build output "
            "(it is sent all the same: name it in .dockerignore)",
        ),
        "web/src/.main.js.swp": (
            "IGNORED",
            "src/.main.js.swp added: an editor's own, no build depends on it "
            "(it is sent all the same: name it in .dockerignore)",
        ),
    }


@pytest.mark.parametrize(
    "texts",
    [
        # a binary that was built outside, by its name
        {"api/Dockerfile.fast": "FROM debian\nCOPY target/release/api /api\n", "api/target/release/api": "1",
         "api/target/CACHEDIR.TAG": "x"},
        # a crate that is called so, packages that a person keeps
        {"api/target/src/lib.rs": "1"}, {"web/node_modules/a/index.js": "1"},
    ],
)  # fmt: skip
def test_what_a_build_may_take_from_a_folder_of_that_name_is_a_source(
    shop: Shop, texts: dict[str, str]
) -> None:
    shop.write({"api/.dockerignore": "Dockerfile*\n", **texts})
    shop.build()
    path = next(path for path in texts if not path.endswith(("fast", "TAG")))
    shop.write({path: "2"})
    assert shop.told()[path][0] in {"SOURCE", "DEPENDENCY"}


def test_modes_and_empty_folders_count_and_are_noted(standing: Shop) -> None:
    file, folder = standing.root / "api/src/main.rs", standing.root / "api/migrations"
    file.chmod(0o600)
    folder.mkdir()
    assert standing.told() == {
        "api/migrations/": ("SOURCE", "migrations/ added"),
        "api/src/main.rs": ("SOURCE", "src/main.rs changed"),
    }
    standing.build()
    assert standing.told()["api"][0] == "IGNORED"
    file.chmod(0o644)
    folder.chmod(0o700)
    assert {kind for kind, _ in standing.told(services=("api",)).values()} == {"SOURCE"}


def test_another_platform(shop: Shop) -> None:
    one = FAST.replace("FROM rust", "FROM --platform=linux/amd64 rust")
    shop.write({"api/Dockerfile.fast": one})
    shop.build()
    shop.write({"api/Dockerfile.fast": one.replace("amd64", "arm64")})
    assert shop.told()["api/Dockerfile.fast"][0] == "BASE"


def test_an_input_that_leads_elsewhere(shop: Shop) -> None:
    rules = "    dependency_inputs: [schema, prisma/schema]\n"
    shop.write({"kiro.yaml": FILES["kiro.yaml"].replace("  - name: web", f"{rules}  - name: web")})
    (shop.root / "api/schema").symlink_to("../v1")
    shop.build()
    (shop.root / "api/schema").unlink()
    (shop.root / "api/schema").symlink_to("../v2")
    assert shop.told()["api/schema"][0] == "DEPENDENCY"
    assert shop.out.getvalue().splitlines() == [
        "kiro.yaml:4: dependency_inputs: `prisma/schema` is no file of the build context"
    ]


def test_a_configuration_that_was_saved_after_it_was_read(shop: Shop) -> None:
    project = config.load(shop.root, {})
    recipes = warm.read_recipes(project, (Profile.DEV,))
    project.state.mkdir()
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}ssh: [default]\n"})
    with mirrored(recipes, project, waiting=pytest.fail) as sending:
        noting.keep(noting.draw_up(recipes, sending, project).drawn)
    assert shop.told() == {"kiro.yaml": ("CONFIG", "kiro.yaml changed")}


def test_a_note_holds_no_secret(shop: Shop) -> None:
    url = "git+https://me:s3cr3t@example.org/x.git"
    shop.write(
        {"api/Cargo.toml": f"{MANIFEST}[patch.'https://me:s3cr3t@example.org/r']\nfnv = {{ path = 'x' }}\n"}
    )
    shop.build("api")
    shop.write({"web/package.json": json.dumps({"name": "web", "dependencies": {"a": url}})})
    notes = list((shop.root / ".kiro/contexts").glob("api-*.built.parts.json"))
    assert "https://***" in notes[0].read_text()
    assert "s3cr3t" not in notes[0].read_text()
    shop.write({"api/Cargo.toml": f'{MANIFEST}x = {{ git = "{url}" }}\n'})
    shop.build()
    notes = list((shop.root / ".kiro/contexts").glob("*.built*.json"))
    assert len(notes) == 4
    for note in notes:
        assert "s3cr3t" not in note.read_text()
        assert note.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["[" * 100_000, "{}", '{"version": 1}', "\0", ""])
def test_damage_is_no_note_and_ends_no_build(standing: Shop, text: str) -> None:
    for note in (standing.root / ".kiro/contexts").glob("*.built*.json"):
        note.write_text(text)
    assert standing.told()["api"][0] == "BASE"
    standing.build()
    assert standing.told()["api"][0] == "IGNORED"


def test_a_pipe_in_the_place_of_a_configuration_is_none(standing: Shop) -> None:
    os.mkfifo(standing.root / "Tiltfile")
    standing.build()
    assert standing.told()["api"][0] == "IGNORED"


def test_rules_of_kiro_yaml(shop: Shop) -> None:
    rules = "    dependency_inputs: [schema.sql]\n    ignore: [docs, '*.toml']\n"
    shop.write({"kiro.yaml": FILES["kiro.yaml"].replace("  - name: web", f"{rules}  - name: web")})
    shop.write({"api/schema.sql": "1", "api/docs/a.txt": "1"})
    shop.build()
    shop.write({"api/schema.sql": "2", "api/docs/a.txt": "2", "api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    assert shop.told() == {
        "api/Cargo.toml": ("DEPENDENCY", "Cargo.toml: dependency `hex` added"),
        "api/docs/a.txt": ("IGNORED", "docs/a.txt changed: kiro.yaml:5 ignores `docs`"),
        "api/schema.sql": ("DEPENDENCY", "schema.sql changed, an input of dependencies by kiro.yaml"),
    }


def test_of_an_unknown_ecosystem_all_is_a_dependency_until_it_is_listed(shop: Shop) -> None:
    extra = "  - name: jobs\n"
    shop.write({"kiro.yaml": FILES["kiro.yaml"] + extra})
    shop.write({"jobs/Dockerfile.fast": "FROM python:3\nCOPY . .\n", "jobs/a.py": "1", "jobs/needs.txt": "1"})
    shop.build()
    shop.write({"jobs/a.py": "2"})
    kind, cause = shop.told()["jobs/a.py"]
    assert kind == "DEPENDENCY"
    assert "list dependency_inputs in kiro.yaml" in cause
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}{extra}    dependency_inputs: [needs.txt]\n"})
    shop.build()
    shop.write({"jobs/a.py": "3", "jobs/needs.txt": "2"})
    assert {path: kind for path, (kind, _) in shop.told().items()} == {
        "jobs/a.py": "SOURCE",
        "jobs/needs.txt": "DEPENDENCY",
    }


# --- given paths


def test_a_given_path_is_told_whatever_it_is(standing: Shop) -> None:
    standing.write({"api/src/main.rs": "fn main() { todo!() }\n", "api/notes.md": "x"})
    asked = ("api/src/main.rs", "api/notes.md", "README.md", "api/Cargo.toml", "api/target", "kiro.yaml")
    assert standing.told(*asked) == {
        "api/src/main.rs": ("SOURCE", "src/main.rs changed"),
        "api/notes.md": (
            "IGNORED", "notes.md is left out of the build context by `*.md` (api/.dockerignore:2)",
        ),
        "README.md": ("IGNORED", "README.md is in no build context (looked at: api, web)"),
        "api/Cargo.toml": ("IGNORED", "api/Cargo.toml: content unchanged since its last build"),
        "api/target": ("IGNORED", "target is left out of the build context by `target` (api/.dockerignore:1)"),
        "kiro.yaml": ("IGNORED", "kiro.yaml unchanged since its last build"),
    }  # fmt: skip


def test_a_path_through_a_link(standing: Shop) -> None:
    standing.write({"api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    (standing.root / "short").symlink_to("api")
    assert standing.told("short/Cargo.toml")["api/Cargo.toml"][0] == "DEPENDENCY"


def test_a_path_that_a_manifest_is_a_link_to(shop: Shop) -> None:
    shop.write({"api/base/manifest.txt": MANIFEST, "api/Cargo.toml": None})
    (shop.root / "api/Cargo.toml").symlink_to("base/manifest.txt")
    shop.build()
    shop.write({"api/base/manifest.txt": f'{MANIFEST}hex = "0.4"\n'})
    assert {path: kind for path, (kind, _) in shop.told("api/base/manifest.txt").items()} == {
        "api/base/manifest.txt": "SOURCE",
        "api/Cargo.toml": "DEPENDENCY",
    }


def test_a_folder_stands_for_all_in_it(standing: Shop) -> None:
    standing.write({"api/src/main.rs": "2", "web/src/main.js": "2"})
    assert set(standing.told("api")) == {"api/src/main.rs"}
    assert set(standing.told(".")) == {"api/src/main.rs", "web/src/main.js"}
    assert set(standing.told("src", folder="api")) == {"api/src/main.rs"}
    assert set(standing.told(str(standing.root / "web"))) == {"web/src/main.js"}


def test_a_path_of_a_service_that_was_never_built(shop: Shop) -> None:
    assert shop.told("api/src/main.rs")["api"][0] == "BASE"


def test_a_removed_file_can_be_asked_for(standing: Shop) -> None:
    standing.write({"api/src/main.rs": None})
    assert standing.told("api/src/main.rs")["api/src/main.rs"][0] in {"DEPENDENCY", "SOURCE"}


@pytest.mark.parametrize(("path", "said"), [("../elsewhere", "lies outside"), ("nothing", "no such file")])
def test_a_path_that_cannot_be_meant(standing: Shop, path: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        standing.rows(path)


def test_ignore_rules_that_changed(shop: Shop) -> None:
    rules, text = "api/.dockerignore", f"{FILES['api/.dockerignore']}.dockerignore\n"
    shop.write({rules: text})
    shop.build()
    shop.write({"api/src/main.rs": "2"})
    assert shop.told(rules)[rules] == (
        "IGNORED", ".dockerignore is left out of the build context by `.dockerignore` (api/.dockerignore:4)",
    )  # fmt: skip
    shop.write({rules: f"{text}Cargo.lock\n"})
    assert shop.told()["api/Cargo.lock"] == (
        "DEPENDENCY", "Cargo.lock is now left out of the build context by `Cargo.lock` (api/.dockerignore:5)",
    )  # fmt: skip
    assert shop.told(rules)[rules][0] == "DEPENDENCY"


# --- against git


def test_since_a_revision_its_own_ignore_rules_count(shop: Shop) -> None:
    shop.commit()
    shop.write({"api/.dockerignore": f"{FILES['api/.dockerignore']}src\n"})
    found = shop.told(since="HEAD")
    assert found["api/src/main.rs"][0] in {"SOURCE", "DEPENDENCY"}
    assert "is now left out of the build context by `src`" in found["api/src/main.rs"][1]
    shop.commit()
    shop.write({"api/.dockerignore": FILES["api/.dockerignore"]})
    assert shop.told(since="HEAD")["api/src/main.rs"][0] in {"SOURCE", "DEPENDENCY"}
    shop.write({"api/.dockerignore": None})
    assert "api/src/main.rs" in shop.told(since="HEAD")


def test_since_a_revision(shop: Shop) -> None:
    shop.commit()
    shop.write(
        {
            "api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n',
            "api/src/main.rs": "fn main() { todo!() }\n",
            "api/new.rs": "1",
            "api/notes.md": "1",
            "README.md": "y",
            "web/src/main.js": None,
            "kiro.yaml": f"{FILES['kiro.yaml']}# x\n",
        }
    )
    expected = {
        "api/Cargo.toml": ("DEPENDENCY", "Cargo.toml: dependency `hex` added"),
        "api/new.rs": ("SOURCE", "new.rs added"),
        "api/src/main.rs": ("SOURCE", "src/main.rs changed"),
        "web/src/main.js": ("SOURCE", "src/main.js removed"),
        "kiro.yaml": ("CONFIG", "kiro.yaml changed"),
        "api/notes.md": (
            "IGNORED", "notes.md is left out of the build context by `*.md` (api/.dockerignore:2)",
        ),
        "README.md": ("IGNORED", "README.md is in no build context (looked at: api, web)"),
    }  # fmt: skip
    assert shop.told(since="HEAD") == expected
    shop.commit()
    assert shop.told(since="HEAD~1") == expected
    assert {kind for kind, _ in shop.told(since="HEAD").values()} == {"IGNORED"}


def test_since_a_revision_the_dockerfile_is_read_as_it_was(shop: Shop) -> None:
    shop.commit()
    shop.write({"api/Dockerfile.fast": FAST.replace("RUN cook", "RUN cook --all")})
    assert shop.told(since="HEAD") == {
        "api/Dockerfile.fast": ("BASE", "api/Dockerfile.fast: stage `cook` changed")
    }


def test_a_service_that_the_revision_did_not_have(shop: Shop) -> None:
    shop.commit()
    shop.write({"jobs/Dockerfile.fast": "FROM a AS b\n", "jobs/Cargo.toml": MANIFEST, "jobs/src/main.rs": ""})
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}  - name: jobs\n"})
    found = shop.told(since="HEAD", services=("jobs",))
    assert found["jobs/Dockerfile.fast"][0] == "BASE"
    assert found["jobs/Cargo.toml"][0] == "DEPENDENCY"


def test_what_git_converts_is_the_same(shop: Shop) -> None:
    """Line ends, and whatever a filter does: what a checkout gives is not what the commit holds."""
    shop.write({".gitattributes": "*.rs text eol=crlf\n", "api/src/main.rs": "fn main() {}\r\n"})
    shop.commit()
    assert {kind for kind, _ in shop.told(since="HEAD").values()} == {"IGNORED"}


def test_names_that_git_quotes(shop: Shop) -> None:
    shop.commit()
    odd = os.fsdecode('ü "x"\t'.encode() + b"\xff.rs")
    shop.write({f"api/{odd}": "1"})
    shop.commit()
    shop.write({f"api/{odd}": "2"})
    assert shop.told(since="HEAD")[f"api/{odd}"][0] == "SOURCE"


def test_a_repository_above_the_project(shop: Shop, tmp_path: Path) -> None:
    shop.root = tmp_path
    shop.commit()
    shop.root = tmp_path / "a shop"
    shop.write({"api/src/main.rs": "2", "api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    found = shop.told(since="HEAD")
    assert {path: kind for path, (kind, _) in found.items()} == {
        "api/Cargo.toml": "DEPENDENCY",
        "api/src/main.rs": "SOURCE",
    }


@pytest.mark.parametrize("ignore", ["all", "dirty", "untracked", ""])
def test_a_submodule_counts_as_what_it_holds(shop: Shop, tmp_path: Path, ignore: str) -> None:
    other = Shop(tmp_path / "other")
    other.commit()
    shop.commit()
    shop.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other.root), "api/lib")
    if ignore:
        shop.git("config", "-f", ".gitmodules", "submodule.api/lib.ignore", ignore)
    shop.commit()
    assert {kind for kind, _ in shop.told(since="HEAD").values()} == {"IGNORED"}
    shop.write({"api/lib/x.rs": "1"})
    assert shop.told(since="HEAD")["api/lib/x.rs"][0] == "SOURCE"


@pytest.mark.parametrize("blind", ["told not to look", "no repository any more", "its own ignore rules"])
def test_what_git_does_not_see_of_a_submodule_counts(shop: Shop, tmp_path: Path, blind: str) -> None:
    other = Shop(tmp_path / "other")
    other.write({".gitignore": "*.env\n", "lib.rs": "1"})
    other.commit()
    shop.commit()
    shop.git("-c", "protocol.file.allow=always", "submodule", "add", "--quiet", str(other.root), "api/lib")
    shop.commit()
    file = "api/lib/lib.rs"
    if blind == "told not to look":
        shop.git("-C", str(shop.root / "api/lib"), "update-index", "--assume-unchanged", "lib.rs")
    elif blind == "no repository any more":
        (shop.root / "api/lib/.git").unlink()
    else:
        file = "api/lib/x.env"
    shop.write({file: "2"})
    assert shop.told(since="HEAD")[file][0] in {"SOURCE", "DEPENDENCY"}


def test_ignore_rules_that_are_a_link(shop: Shop) -> None:
    shop.write({"api/.dockerignore": None, "api/rules.txt": "Dockerfile*\n"})
    (shop.root / "api/.dockerignore").symlink_to("rules.txt")
    shop.commit()
    shop.write({"api/rules.txt": "Dockerfile*\nCargo.lock\n"})
    assert shop.told(since="HEAD")["api/Cargo.lock"][0] == "DEPENDENCY"


def test_a_dockerfile_that_the_revision_did_not_have(shop: Shop) -> None:
    text = FILES["api/Dockerfile.fast"]
    shop.write({"api/Dockerfile.fast": None})
    shop.commit()
    (shop.root / ".git/info/exclude").write_text("Dockerfile.fast\n")
    shop.write({"api/Dockerfile.fast": text})
    assert "BASE" in {kind for kind, _ in shop.told(since="HEAD", services=("api",)).values()}


def test_a_link_in_a_circle_ends_nothing(standing: Shop) -> None:
    (standing.root / "api/loop").symlink_to("loop")
    standing.write({"api/src/main.rs": "2"})
    assert set(standing.told("api/src/main.rs")) == {"api/src/main.rs"}


def test_a_mark_of_the_other_side_covers_nothing(shop: Shop) -> None:
    shop.write({"api/.dockerignore": "Dockerfile*\n", "api/target/CACHEDIR.TAG": "x"})
    shop.build()
    shop.write({"api/target/CACHEDIR.TAG": None, "api/target/mine.rs": "1"})
    assert shop.told()["api/target/mine.rs"][0] in {"SOURCE", "DEPENDENCY"}


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_files_that_git_does_not_look_at(shop: Shop, flag: str) -> None:
    shop.commit()
    shop.git("update-index", flag, "api/Cargo.toml")
    shop.write({"api/Cargo.toml": f'{MANIFEST}hex = "0.4"\n'})
    assert shop.told(since="HEAD")["api/Cargo.toml"][0] == "DEPENDENCY"


def test_git_is_made_to_look_closely(shop: Shop) -> None:
    shop.commit()
    for setting in ("core.checkStat=minimal", "core.trustctime=false", "core.fileMode=false"):
        shop.git("config", *setting.split("="))
    file = shop.root / "api/Cargo.toml"
    os.utime(file, ns=(10**18, 10**18))
    shop.git("update-index", "--refresh")
    file.write_text(MANIFEST.replace('fnv = "1"', 'fnv = "2"'))
    os.utime(file, ns=(10**18, 10**18))
    (shop.root / "api/src/main.rs").chmod(0o755)
    assert {path: kind for path, (kind, _) in shop.told(since="HEAD").items()} == {
        "api/Cargo.toml": "DEPENDENCY",
        "api/src/main.rs": "SOURCE",
    }


def test_a_dockerfile_that_is_a_link(shop: Shop) -> None:
    shop.write({"api/Real": FAST, "api/Dockerfile.fast": None, "api/.dockerignore": "Real\nDockerfile*\n"})
    (shop.root / "api/Dockerfile.fast").symlink_to("Real")
    shop.commit()
    shop.write({"api/Real": FAST.replace("RUN cook", "RUN cook --all")})
    assert ("BASE", "api/Dockerfile.fast: stage `cook` changed") in shop.told(since="HEAD").values()


def test_what_kiro_yaml_gave_to_builds_of_a_revision_is_read_as_it_was(shop: Shop) -> None:
    shop.write({"api/Dockerfile.fast": f"{FAST}ARG A\n"})
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}build_args:\n  A: 1\n"})
    shop.commit()
    shop.write({"kiro.yaml": f"{FILES['kiro.yaml']}build_args:\n  A: 2\n"})
    assert {(row["service"], row["kind"], row["cause"]) for row in shop.rows(since="HEAD")} == {
        ("api", "BASE", "kiro.yaml: build argument `A` changed"),
        ("web", "IGNORED", "nothing changed since that revision"),
        ("", "CONFIG", "kiro.yaml changed"),
    }


def test_another_repository_in_the_environment(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Shop(tmp_path / "other")
    other.write({"api/Cargo.toml": "another"})
    other.commit()
    shop.commit()
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    assert {kind for kind, _ in shop.told(since="HEAD").values()} == {"IGNORED"}


@pytest.mark.parametrize("name", ["nope", "--output=x", "HEAD:api", "HEAD^{tree}"])
def test_a_revision_that_is_none(shop: Shop, name: str) -> None:
    shop.commit()
    with pytest.raises(UsageError, match="no commit is called"):
        shop.rows(since=name)


def test_no_git_repository(shop: Shop) -> None:
    with pytest.raises(UsageError):
        shop.rows(since="HEAD")


# --- several services


def test_what_services_share_reaches_those_that_get_it(tmp_path: Path) -> None:
    """One folder for all, each with an ignore file of its own: a workspace with a lockfile for all."""
    shop = Shop(tmp_path)
    member = '[package]\nname = "{0}"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\n'
    shop.write(
        {
            "kiro.yaml": "project: shop\nservices:\n"
            + "".join(
                f"  - name: {name}\n    context: .\n    fast_dockerfile: {name}.Dockerfile\n"
                for name in ("one", "two")
            ),
            "Cargo.toml": '[workspace]\nmembers = ["crates/*"]\n',
            "Cargo.lock": LOCK,
            "one.Dockerfile": "FROM rust:1 AS dev\nCOPY . .\n",
            "two.Dockerfile": "FROM rust:1 AS dev\nCOPY . .\n",
            "one.Dockerfile.dockerignore": ".kiro\ncrates/two\n*.yaml\n",
            "two.Dockerfile.dockerignore": ".kiro\ncrates/one\n*.yaml\n",
            "crates/one/Cargo.toml": member.format("one"),
            "crates/one/src/main.rs": "",
            "crates/two/Cargo.toml": member.format("two"),
            "crates/two/src/main.rs": "",
            "crates/shared/Cargo.toml": member.format("shared"),
            "crates/shared/src/lib.rs": "",
        }
    )
    shop.build()

    def kinds() -> set[tuple[str, str, str]]:
        return {(row["service"], row["kind"], row["path"]) for row in shop.rows() if row["kind"] != "IGNORED"}

    shop.write({"crates/one/src/main.rs": "1", "crates/shared/src/lib.rs": "1"})
    assert kinds() == {
        ("one", "SOURCE", "crates/one/src/main.rs"),
        ("one", "SOURCE", "crates/shared/src/lib.rs"),
        ("two", "SOURCE", "crates/shared/src/lib.rs"),
    }
    shop.build()
    shop.write({"crates/shared/Cargo.toml": member.format("shared") + 'hex = "0.4"\n'})
    shop.write({"Cargo.lock": LOCK.replace("1.0.7", "1.0.8")})
    assert kinds() == {
        (name, "DEPENDENCY", path)
        for name in ("one", "two")
        for path in ("Cargo.lock", "crates/shared/Cargo.toml")
    }


def test_many_changes_are_counted_in_the_text(standing: Shop) -> None:
    standing.write({f"api/src/f{number:03}.txt": "1" for number in range(120)})
    lines = standing.text()
    assert len(lines) < 30
    assert "and 100 more" in lines[20]


def test_names_move_no_cursor_and_add_no_line(standing: Shop) -> None:
    standing.write({"api/src/\x1b[2J.rs": "1", "api/src/x\nweb: rebuilt: nothing at all.rs": "1"})
    lines = standing.text()
    assert all("\x1b" not in line for line in lines)
    assert len(lines) == 5
