"""The doors that do nothing themselves: scripts and Make targets, with a `kiro` that tells how it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A repository without an environment of its own; the `kiro` of the machine tells its arguments and its folder."""
    shutil.copytree(ROOT / "scripts", tmp_path / "a repository/scripts")
    kiro = tmp_path / "bin/kiro"
    kiro.parent.mkdir()
    kiro.write_text('#!/bin/sh\nprintf "%s\\n" "$(basename "$PWD")" "$@"\n')
    kiro.chmod(0o755)
    return tmp_path


def run(home: Path, script: str, *arguments: str, kiro: bool = True) -> Ran:
    path = f"{home}/bin:/usr/bin:/bin" if kiro else "/usr/bin:/bin"
    done = subprocess.run(
        [home / "a repository/scripts" / script, *arguments],
        env={**os.environ, "PATH": path},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("script", "given", "called"),
    [
        ("warm-cache.sh", ("--dry-run",), ("warm-cache", "--dry-run")),
        ("test-docker-build.sh", ("--quick",), ("test-build-performance", "--quick")),
        ("refresh-cache.sh", ("show",), ("show-cache",)),
        ("refresh-cache.sh", ("show", "--service", "a b"), ("show-cache", "--service", "a b")),
        ("refresh-cache.sh", ("clean", "build"), ("clean-cache", "--what", "build")),
        ("refresh-cache.sh", ("clean", "images", "--yes"), ("clean-cache", "--what", "images", "--yes")),
        (
            "refresh-cache.sh",
            ("clean", "all", "--older-than", "7d", "--dry-run"),
            ("clean-cache", "--what", "all", "--older-than", "7d", "--dry-run"),
        ),
        ("refresh-cache.sh", ("refresh", "--format", "json"), ("refresh-cache", "--format", "json")),
    ],
)
def test_a_script_is_the_command_with_all_its_options(
    home: Path, script: str, given: tuple[str, ...], called: tuple[str, ...]
) -> None:
    ran = run(home, script, *given)
    assert (ran.code, ran.out.splitlines()) == (0, ["a repository", *called])


@pytest.mark.parametrize(
    "given",
    [(), ("",), ("clean",), ("clean", "cash"), ("clean", "--yes"), ("purge",), ("--help",), ("clean-cache",)],
)
def test_unknown_words_are_wrong_use_and_nothing_is_called(home: Path, given: tuple[str, ...]) -> None:
    ran = run(home, "refresh-cache.sh", *given)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: refresh-cache.sh show | clean build|images|all | refresh" in ran.err


@pytest.mark.parametrize(
    ("script", "given"),
    [("warm-cache.sh", ()), ("test-docker-build.sh", ()), ("refresh-cache.sh", ("show",))],
)
def test_without_kiro_the_way_to_it_is_told(home: Path, script: str, given: tuple[str, ...]) -> None:
    ran = run(home, script, *given, kiro=False)
    assert (ran.code, ran.out) == (2, "")
    assert f"{script}: kiro is not installed. Fix: run 'make " in ran.err


@pytest.mark.parametrize(
    ("target", "called"),
    [
        ("show-cache", "show-cache --service a"),
        ("clean-cache", "clean-cache --yes --service a"),
        ("warm-cache", "warm-cache --setup --service a"),
    ],
)
def test_make_targets_are_the_commands(target: str, called: str) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--always-make", target, "ARGS=--service a"],
        cwd=ROOT,
        # the tests may be a target's themselves
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1].endswith(f"-m kiro_invoke.cli {called}")
