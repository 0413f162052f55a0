"""`kiro init` and `kiro uninstall` as commands: what they say, write, ask for and leave."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke.commands import initializing
from kiro_invoke.commands.doors import MAKE_FRAGMENT, included
from kiro_invoke.commands.initializing import Asked
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.protocol import Completed
from kiro_invoke.model.errors import ConfigError, EngineError, UsageError
from kiro_invoke.scaffold.found import Found
from kiro_invoke.screen import Paper
from tests.support.repository import git, write_texts
from tests.support.shapes import SHAPES, crate

SCHEMAS = Path(__file__).parents[2] / "kiro_invoke/schemas"
LOCKED = {"api/Cargo.lock": 'version = 3\n\n[[package]]\nname = "api"\nversion = "0.1.0"\n'}


class World:
    """A repository, and a person or nobody to ask."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.answer: bool | None = None
        self.fails = ""
        self.engine_trouble = "no Docker engine answers"
        self.out, self.err = io.StringIO(), io.StringIO()

    def surface(self) -> Surface:
        def paper(stream: io.StringIO) -> Paper:
            return Paper(lambda: Console(file=stream, width=200), stream)

        def ask(_question: str) -> bool:
            return bool(self.answer)

        asks: Callable[[str], bool] | None = None if self.answer is None else ask
        return Surface(paper(self.out), paper(self.err), {"HOME": str(self.root.parent)}, self.root, asks)

    def init(self, **options: Any) -> dict[str, Any]:
        return self._fields(
            "init", initializing.init(Asked(**options), self.run, self.inside)(self.surface())
        )

    def run(self, argv: Sequence[str], **_options: object) -> Completed:
        """A package manager that locks, or fails."""
        if self.fails:
            return Completed(tuple(argv), 127 if self.fails == "missing" else 1, "", f"{self.fails}\n")
        write_texts(self.root, LOCKED)
        return Completed(tuple(argv), 0, "", "")

    def inside(self, _service: Found, path: str, argv: Sequence[str]) -> str:
        """An engine on which a manager locks, or none."""
        if self.engine_trouble:
            raise EngineError(self.engine_trouble)
        assert argv == ["cargo", "generate-lockfile"]
        return LOCKED[path]

    def uninstall(self, *, dry_run: bool = False, force: bool = False) -> dict[str, Any]:
        answer = initializing.uninstall(dry_run=dry_run, force=force)(self.surface())
        return self._fields("uninstall", answer)

    def deeds(self, **options: Any) -> dict[str, str]:
        return {file["path"]: file["deed"] for file in self.init(**options)["files"]}

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and path.relative_to(self.root).parts[0] not in {".git", ".kiro"}
        }

    def _fields(self, name: str, answer: Answer) -> dict[str, Any]:
        answer.show(self.surface())
        value = {"schema": 1, "command": name, "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
        jsonschema.validate(value, json.loads((SCHEMAS / f"{name}.json").read_text()))
        return value


@pytest.fixture
def world(tmp_path: Path) -> World:
    root = tmp_path / "shop"
    write_texts(root, {**crate("api", 3000, folder="api"), **LOCKED})
    git("init", "-q", str(root))
    git("-C", str(root), "add", "--all")
    git("-C", str(root), "commit", "-qm", "as it was")
    return World(root)


def test_it_tells_what_it_found_and_why(world: World) -> None:
    world.init()
    said = world.err.getvalue()
    assert said.startswith(f"in {world.root}\napi: cargo, in api\n")
    assert "  port 3000 (api/src/main.rs:5)\n" in said
    assert "create   api/Dockerfile.fast: api: its development image\n" in said
    assert "kiro warm-cache && kiro watch" in world.out.getvalue()


def test_sources_named_as_build_output_are_seen_and_services_among_them_are_none(world: World) -> None:
    write_texts(world.root, {"api/src/target/mod.rs": "", "api/target/debug/x": ""})
    write_texts(world.root, crate("other", 1, folder="api/src/build/other"))
    assert [one["name"] for one in world.init()["services"]] == ["api"]
    assert "\n!src/target\n" in (world.root / "api/.dockerignore").read_text()


def test_a_dry_run_writes_nothing(world: World) -> None:
    before = world.files()
    assert set(world.deeds(dry_run=True).values()) == {"create"}
    assert world.files() == before
    assert not (world.root / ".kiro").exists()


def test_again_it_has_nothing_to_do(world: World) -> None:
    world.init()
    before = world.files()
    assert set(world.deeds().values()) == {"keep"}
    assert world.files() == before


def test_uninstall_leaves_it_byte_for_byte_as_it_was(world: World) -> None:
    write_texts(world.root, {"api/.dockerignore": "secrets\r\nlast", "Makefile": "all:\n\ttrue"})
    before = world.files()
    world.init(extras=("ci", "editor", "tilt"))
    for path in ("api/.dockerignore", "Makefile"):
        assert world.files()[path] != before[path]
    assert world.uninstall()["left"] == 0
    assert world.files() == before
    assert not (world.root / ".github").exists()
    assert not (world.root / ".vscode").exists()
    assert not (world.root / ".kiro").exists()


def test_a_makefile_goes_on_as_before_and_has_the_targets_where_kiro_is(world: World) -> None:
    write_texts(world.root, {"Makefile": "all:\n\t@echo mine\n"})
    world.init()

    def make(*words: str, path: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": path}
        argv = ["make", "-C", str(world.root), "--no-print-directory", *words]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    system = "/usr/bin:/bin"
    assert make(path=system).stdout == "mine\n"
    assert make("kiro-help", path=system).returncode != 0
    programs = world.root.parent / "bin"
    programs.mkdir()
    (programs / "kiro").write_text(f"#!/bin/sh\n[ $1 = make-path ] && echo '{included(MAKE_FRAGMENT)}'\n")
    (programs / "kiro").chmod(0o755)
    assert make(path=f"{programs}:{system}").stdout == "mine\n"
    assert "kiro-watch" in make("kiro-help", path=f"{programs}:{system}").stdout


def test_uninstall_needs_no_state(world: World) -> None:
    before = world.files()
    world.init()
    assert not (world.root / ".kiro").exists()
    world.uninstall()
    assert world.files() == before
    assert git("-C", str(world.root), "status", "--short") == ""


def test_what_was_changed_since_is_left_and_told(world: World) -> None:
    before = world.files()
    world.init()
    file = world.root / "api/Dockerfile"
    file.write_text(file.read_text() + "RUN mine\n")
    assert world.uninstall()["left"] == 1
    assert set(world.files()) == {*before, "api/Dockerfile"}
    assert "  -RUN mine\n" in world.err.getvalue()
    assert world.uninstall(force=True)["left"] == 0
    assert world.files() == before


def test_a_persons_dockerfile_is_kept(world: World) -> None:
    write_texts(world.root, {"api/Dockerfile": "FROM mine\n"})
    assert world.deeds()["api/Dockerfile"] == "leave"
    assert (world.root / "api/Dockerfile").read_text() == "FROM mine\n"


def test_a_service_that_a_persons_list_lacks_is_told_of(world: World) -> None:
    write_texts(world.root, {"kiro.yaml": "services:\n  - name: web\n"})
    assert world.deeds()["kiro.yaml"] == "leave"
    assert "note: it names no api: `kiro init --force --dry-run` shows how\n" in world.err.getvalue()


def test_what_force_replaced_comes_back(world: World) -> None:
    write_texts(world.root, {"api/Dockerfile": "FROM mine\r\n"})
    before = world.files()
    assert world.deeds(force=True)["api/Dockerfile"] == "replace"
    assert "  -FROM mine\n" in world.err.getvalue()
    world.uninstall()
    assert world.files() == before


def test_what_force_replaced_last_comes_back(world: World) -> None:
    write_texts(world.root, {"api/Dockerfile": "FROM mine\n"})
    world.init(force=True)
    write_texts(world.root, {"api/Dockerfile": "FROM mine, and newer\n"})
    world.init(force=True)
    world.uninstall()
    assert world.files()["api/Dockerfile"] == b"FROM mine, and newer\n"


def test_what_force_replaced_comes_back_where_nothing_is_any_more(world: World) -> None:
    write_texts(world.root, {"api/Dockerfile": "FROM mine\r\n"})
    before = world.files()
    world.init(force=True)
    (world.root / "api/Dockerfile").unlink()
    world.uninstall()
    assert world.files() == before


@pytest.mark.parametrize("force", [True, False])
def test_lines_that_lost_their_end_are_left(world: World, force: bool) -> None:
    write_texts(world.root, {"Makefile": "all:\n"})
    world.init()
    file = world.root / "Makefile"
    torn = file.read_text().replace("# <<< kiro init\n", "") + "mine:\n"
    file.write_text(torn)
    assert world.deeds(force=force)["Makefile"] == "leave"
    assert world.uninstall(force=force)["left"] == 1
    assert file.read_text() == torn
    assert "Makefile: lines of kiro init begin in it, and their end is gone" in world.err.getvalue()


def test_uninstall_is_not_kept_from_its_work_by_files_of_others(world: World, tmp_path: Path) -> None:
    write_texts(tmp_path, {"elsewhere": "FROM other\n"})
    (world.root / "nginx.conf").write_bytes(b"# \xff\n")
    (world.root / "Dockerfile").symlink_to(tmp_path / "elsewhere")
    before = world.files()
    world.init()
    assert world.uninstall()["left"] == 0
    assert world.files() == before


@pytest.mark.parametrize("link", [".kiro", ".kiro/init"])
def test_uninstall_follows_no_link_into_a_persons_other_folders(
    world: World, tmp_path: Path, link: str
) -> None:
    write_texts(tmp_path, {"elsewhere/init/mine": "", "elsewhere/mine": ""})
    (world.root / link).parent.mkdir(exist_ok=True)
    (world.root / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="must not be a link"):
        world.uninstall()
    assert (tmp_path / "elsewhere/init/mine").exists()
    assert (tmp_path / "elsewhere/mine").exists()


def test_uninstall_says_what_stays(world: World) -> None:
    world.init()
    write_texts(world.root, {".kiro/.gitignore": "*\n", ".kiro/metrics.db": ""})
    world.uninstall(dry_run=True)
    assert "before that, to have the engine's room back: kiro clean-cache --what all" in world.out.getvalue()
    world.uninstall()
    assert "the folder .kiro/ stays" in world.out.getvalue()
    assert "(rm -r .kiro)" in world.out.getvalue()
    assert (world.root / ".kiro/metrics.db").exists()


def test_what_is_ours_and_was_edited_is_not_kept_as_a_persons_own(world: World) -> None:
    before = world.files()
    world.init()
    file = world.root / "api/Dockerfile"
    file.write_text(file.read_text() + "RUN mine\n")
    assert world.deeds(force=True)["api/Dockerfile"] == "replace"
    world.uninstall()
    assert world.files() == before


def test_an_upgrade_shows_its_diff_and_asks(world: World) -> None:
    world.init()
    source = world.root / "api/src/main.rs"
    source.write_text(source.read_text().replace("3000", "4000"))
    before = world.files()
    assert world.deeds()["api/Dockerfile.fast"] == "leave"
    for answer in (None, False):
        world.answer = answer
        assert world.deeds(upgrade=True)["api/Dockerfile.fast"] == "leave"
        assert world.files() == before
    assert "  +EXPOSE 4000\n" in world.err.getvalue()
    world.answer = True
    assert world.deeds(upgrade=True)["api/Dockerfile.fast"] == "renew"
    assert b"EXPOSE 4000\n" in world.files()["api/Dockerfile.fast"]


def test_without_a_service_it_says_what_it_saw(tmp_path: Path) -> None:
    world = World(tmp_path / "shop")
    write_texts(world.root, {"a/Cargo.toml": '[package]\nname = "a"\n', "a/src/lib.rs": ""})
    with pytest.raises(ConfigError, match=r"found no service \(a/Cargo.toml: a library"):
        world.init()


def test_a_home_folder_is_no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="is no repository"):
        World(tmp_path).init()


def test_an_unknown_extra_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match='--extra "make" is not known'):
        world.init(extras=("make",))


def test_a_link_out_of_the_repository_is_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine\n")
    (world.root / "api/.dockerignore").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads out of the repository"):
        world.init()
    assert (tmp_path / "elsewhere").read_text() == "mine\n"


# --- lockfiles


def test_a_missing_lockfile_is_made_and_taken_out_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_texts(world.root, {"api/Cargo.lock": None})
    before = world.files()
    assert world.init()["lockfiles"] == [{"path": "api/Cargo.lock"}]
    assert world.init()["lockfiles"] == []
    world.uninstall()
    assert world.files() == before


def test_no_note_makes_it_remove_another_file(world: World, tmp_path: Path) -> None:
    victims = [tmp_path / "Cargo.lock", world.root / "api/src/main.rs"]
    victims[0].write_text("mine\n")
    paths = [str(victims[0]), "../Cargo.lock", "api/src/main.rs"]
    hashes = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (victims[0], *victims)]
    note = json.dumps(dict(zip(paths, hashes, strict=True)))
    write_texts(world.root, {".kiro/init/made.json": note})
    world.uninstall()
    assert [one.exists() for one in victims] == [True, True]


def test_a_lockfile_that_changed_since_is_a_persons(world: World) -> None:
    write_texts(world.root, {"api/Cargo.lock": None})
    world.init()
    lock = world.root / "api/Cargo.lock"
    lock.write_text(lock.read_text() + "# more\n")
    world.uninstall()
    assert lock.read_text().endswith("# more\n")


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("missing", "there is no cargo that works on this machine, and no Docker engine answers"),
        (
            "rustup could not choose a version of cargo to run",
            "there is no cargo that works on this machine, and no Docker engine answers",
        ),
        ("no net", "no net"),
    ],
)
def test_a_lockfile_that_cannot_be_made_is_told(world: World, fails: str, told: str) -> None:
    write_texts(world.root, {"api/Cargo.lock": None})
    world.fails = fails
    fields = world.init()
    assert (fields["ok"], fields["lockfiles"]) == (False, [{"path": "api/Cargo.lock", "trouble": told}])
    assert f"api/Cargo.lock: not made: {told}." in world.err.getvalue()


@pytest.mark.parametrize("fails", ["missing", "rustup could not choose a version of cargo to run"])
def test_a_lockfile_is_made_in_an_image_where_no_manager_works(world: World, fails: str) -> None:
    write_texts(world.root, {"api/Cargo.lock": None})
    before = world.files()
    world.fails, world.engine_trouble = fails, ""
    fields = world.init()
    assert (fields["ok"], fields["lockfiles"]) == (True, [{"path": "api/Cargo.lock"}])
    assert (world.root / "api/Cargo.lock").read_text() == LOCKED["api/Cargo.lock"]
    world.uninstall()
    assert world.files() == before


@pytest.mark.parametrize("shape", SHAPES)
def test_no_shape_is_changed_by_a_dry_run(tmp_path: Path, shape: str) -> None:
    world = World(tmp_path / "some where ä")
    write_texts(world.root, SHAPES[shape])
    before = world.files()
    assert world.init(dry_run=True)["services"]
    assert world.files() == before
