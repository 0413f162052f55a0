"""The Makefile fragment, with GNU Make in Makefiles of others, and a `kiro` that tells how it was called."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kiro_invoke import ns
from kiro_invoke.commands.doors import MAKE_FRAGMENT, included

ROOT = Path(__file__).parents[2]
#: That of whoever runs the tests, which can be another than what `make` is in the repositories here.
MAKE = shutil.which("make") or "make"
#: What the header of the fragment, and the documentation, have people write.
INCLUDE = "include $(or $(shell kiro make-path),$(error kiro is missing: pip install kiro-invoke))\n"
TARGETS = (
    "warm-cache", "test-build-performance", "clean-cache", "show-cache", "refresh-cache", "watch", "report", "doctor",
)  # fmt: skip
MORE = (
    "build",
    "up",
    "down",
    "logs",
    "setup",
    "config",
    "classify",
    "affected",
    "replay-history",
    "pin-images",
)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def called(self) -> list[str]:
        """The arguments that kiro was called with."""
        return self.out.splitlines()


class Foreign:
    """Somebody's repository with a Makefile, in a folder with a space; what `kiro` is there."""

    def __init__(self, folder: Path) -> None:
        self.root, self.bin = folder / "their repository", folder / "bin"
        self.root.mkdir()
        self.bin.mkdir()
        self.kiro(MAKE_FRAGMENT)

    def kiro(self, fragment: Path) -> None:
        """A `kiro` whose fragment is there."""
        program = self.bin / "kiro"
        program.write_text(
            "#!/bin/sh\n[ \"$1\" != make-path ] || { cat <<'PATH'\n"
            f"{included(fragment)}\nPATH\nexit; }}\n"
            'printf "%s\\n" "$@"\n'
        )
        program.chmod(0o755)

    def make(self, *words: str, text: str = INCLUDE, kiro: bool = True, **env: str) -> Ran:
        (self.root / "Makefile").write_text(text)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "KIRO"))}
        done = subprocess.run(
            [MAKE, "--no-print-directory", *words],
            cwd=self.root,
            env={**ours, "PATH": f"{self.bin}:/usr/bin:/bin" if kiro else "/usr/bin:/bin", **env},
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    return Foreign(tmp_path)


def test_the_header_tells_the_line_that_is_tested_here() -> None:
    assert f"#     {INCLUDE}" in MAKE_FRAGMENT.read_text()
    assert INCLUDE.strip() in (ROOT / "docs/commands.md").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_the_command(foreign: Foreign, target: str) -> None:
    ran = foreign.make(target)
    assert (ran.code, ran.called, ran.err) == (0, [target], "")


def test_every_target_is_a_task() -> None:
    known = set(re.findall(r"^kiro_help_([a-z-]+) :=", MAKE_FRAGMENT.read_text(), re.MULTILINE))
    assert known == {*TARGETS, *MORE}
    assert known <= set(ns.task_names)
    for name in known:
        takes = any("service" in argument.names for argument in ns[name].get_arguments())
        assert takes is (name in _of_services()), name


def _of_services() -> list[str]:
    found = re.search(r"^kiro_of_services := (.*)$", MAKE_FRAGMENT.read_text(), re.MULTILINE)
    assert found
    return found[1].split()


@pytest.mark.parametrize(
    ("words", "called"),
    [
        (["SERVICE=api"], ["--service", "api"]),
        (["SERVICE=api web"], ["--service", "api", "--service", "web"]),
        (["SERVICE=api,web"], ["--service", "api", "--service", "web"]),
        (["SERVICE=it's;false"], ["--service", "it's;false"]),
        (["SERVICE=a\"b `false` &"], ["--service", 'a"b', "--service", "`false`", "--service", "&"]),
        (["SERVICE=$HOME"], ["--service", "$HOME"]),
        (["SERVICE=--help"], ["--service", "--help"]),
        (["SERVICE="], []),
        (["ARGS=--no-live --debug api"], ["--no-live", "--debug", "api"]),
        (["ARGS=--debug 'a  b'"], ["--debug", "a  b"]),
        (["ARGS=--debug \"$NAME\""], ["--debug", "of the environment"]),
        (["ARGS=--once\n--no-live"], ["--once", "--no-live"]),
        (["SERVICE=api", "ARGS=--once"], ["--service", "api", "--once"]),
    ],
)  # fmt: skip
def test_services_and_options_arrive_as_they_were_given(
    foreign: Foreign, words: list[str], called: list[str]
) -> None:
    ran = foreign.make("watch", *words, NAME="of the environment")
    assert (ran.code, ran.called, ran.err) == (0, ["watch", *called], "")


def test_they_may_come_from_the_environment_and_from_the_makefile(foreign: Foreign) -> None:
    assert foreign.make("watch", SERVICE="a$b").called == ["watch", "--service", "a$b"]
    text = f"LAST = api\nSERVICE = $(LAST)\n{INCLUDE}"
    assert foreign.make("watch", text=text).called == ["watch", "--service", "api"]


def test_what_knows_no_services_is_asked_for_none(foreign: Foreign) -> None:
    assert foreign.make("report", SERVICE="of something else").called == ["report"]
    ran = foreign.make("report", "SERVICE=api")
    assert (ran.code, ran.out) == (2, "")
    assert "report is about all services: leave SERVICE out" in ran.err


def test_without_kiro_the_way_to_it_is_told(foreign: Foreign) -> None:
    ran = foreign.make("watch", kiro=False)
    assert (ran.code, ran.out) == (2, "")
    assert "*** kiro is missing: pip install kiro-invoke.  Stop." in ran.err
    by_path = f"include {included(MAKE_FRAGMENT)}\nall:\n\t@echo theirs\n"
    assert foreign.make(text=by_path, kiro=False) == Ran(0, "theirs\n", "")
    ran = foreign.make("watch", text=by_path, kiro=False)
    assert (ran.code, ran.out) == (2, "")
    assert "kiro is missing: pip install kiro-invoke, or set KIRO" in ran.err


def test_a_plain_include_would_say_nothing(foreign: Foreign) -> None:
    """Why the line is as it is."""
    ran = foreign.make("all", text="include $(shell kiro make-path)\nall:\n\t@echo theirs\n", kiro=False)
    assert (ran.code, ran.out) == (0, "theirs\n")


THEIRS = "watch:\n\t@echo their watch\nreport:\n\t@echo their report\n"


PREFIXED = f"KIRO_PREFIX := kiro-\n{INCLUDE}"


@pytest.mark.parametrize("text", [f"{PREFIXED}{THEIRS}", f"{THEIRS}{PREFIXED}"])
def test_a_prefix_keeps_apart_what_is_theirs(foreign: Foreign, text: str) -> None:
    assert foreign.make("watch", text=text) == Ran(0, "their watch\n", "")
    assert foreign.make("kiro-watch", "SERVICE=api", text=text).called == ["watch", "--service", "api"]
    assert re.findall(r"^  (\S+)", foreign.make("kiro-help", text=text).out, re.MULTILINE) == [
        f"kiro-{target}" for target in TARGETS
    ]


def test_some_targets_may_be_chosen(foreign: Foreign) -> None:
    text = f"KIRO_TARGETS := doctor build logs\n{INCLUDE}{THEIRS}"
    assert foreign.make("watch", text=text) == Ran(0, "their watch\n", "")
    assert foreign.make("logs", "ARGS=--follow", text=text).called == ["logs", "--follow"]
    ran = foreign.make("watch", text=f"KIRO_TARGETS := wach\n{INCLUDE}")
    assert (ran.code, ran.out) == (2, "")
    assert "KIRO_TARGETS: kiro has no wach" in ran.err


def test_their_default_goal_stays_theirs(foreign: Foreign) -> None:
    assert foreign.make(text=f"{INCLUDE}theirs:\n\t@echo theirs\n").out == "theirs\n"
    assert foreign.make(text=f"theirs:\n\t@echo theirs\nother:\n{INCLUDE}").out == "theirs\n"


def test_it_leaves_no_variable_undefined_and_sets_none_of_theirs(foreign: Foreign) -> None:
    ran = foreign.make(
        "--warn-undefined-variables", "watch", text=f"{INCLUDE}SERVICE ?= api\nARGS ?= --once\n"
    )
    assert (ran.called, ran.err) == (["watch", "--service", "api", "--once"], "")
    assert foreign.make("--warn-undefined-variables", "report", "kiro-help").err == ""


def test_options_that_a_target_always_gives(foreign: Foreign) -> None:
    text = f"KIRO_ARGS_watch := --once --debug 'a b'\n{INCLUDE}"
    assert foreign.make("watch", "ARGS=--no-live", text=text).called == [
        "watch",
        "--once",
        "--debug",
        "a b",
        "--no-live",
    ]
    assert foreign.make("report", text=text).called == ["report"]


def test_what_is_needed_is_made_first(foreign: Foreign) -> None:
    text = f"KIRO_NEEDS := venv\n{INCLUDE}venv:\n\t@echo made\n"
    assert foreign.make("watch", text=text).called == ["made", "watch"]


def test_files_of_these_names_do_not_matter(foreign: Foreign) -> None:
    (foreign.root / "watch").mkdir()
    (foreign.root / "report").write_text("")
    assert foreign.make("watch").called == ["watch"]
    assert foreign.make("report").called == ["report"]


def test_every_target_has_a_help_text(foreign: Foreign) -> None:
    lines = foreign.make("kiro-help").out.splitlines()
    assert [line.split()[0] for line in lines] == list(TARGETS)
    assert all(len(line.split()) > 3 for line in lines)


def test_none_sets_up_an_engine() -> None:
    assert "--setup" not in MAKE_FRAGMENT.read_text()


@pytest.mark.parametrize("name", ["a folder", "ü*[1] x?", "tab\tand \\ backslash", "$HOME (x) # y", "[*"])
def test_a_path_that_make_would_divide_is_included(foreign: Foreign, tmp_path: Path, name: str) -> None:
    fragment = tmp_path / name / "kiro.mk"
    fragment.parent.mkdir()
    shutil.copy(MAKE_FRAGMENT, fragment)
    foreign.kiro(fragment)
    ran = foreign.make("watch")
    assert (ran.code, ran.called, ran.err) == (0, ["watch"], "")


def test_what_make_would_match_is_bracketed() -> None:
    """Make 3.81 takes no backslash for it, though later ones do."""
    assert included(Path("/a folder/*?[1]")) == "/a\\ folder/[*][?][[]1]"


def test_this_repository_uses_it_itself() -> None:
    done = subprocess.run([MAKE, "help"], cwd=ROOT, capture_output=True, text=True, check=False)
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert {*TARGETS, *MORE, "help", "test", "test-unit", "lint", "clean"} <= listed
    assert "\ninclude kiro_invoke/kiro.mk\n" in (ROOT / "Makefile").read_text()
