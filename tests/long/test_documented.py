"""What the documentation tells a person to type, typed: in a copy of this repository, and in one of somebody else's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.documented import FILES, NOT_RUN, documented
from tests.support.engine import ROOT, Ran, command, free_port, kiro
from tests.support.repository import git, write_texts
from tests.support.shapes import SHAPES

pytestmark = [pytest.mark.docker, pytest.mark.long]

#: Typed in a repository of the reader's: this document, and whatever repeats it.
ELSEWHERE = [one.typed for one in documented("docs/adopting.md") if one.typed not in NOT_RUN]
HERE = [
    typed
    for typed in dict.fromkeys(one.typed for file in FILES for one in documented(file))
    if typed not in NOT_RUN and typed not in ELSEWHERE
]
#: Exit codes that a command may end with besides 0.
ALLOWED = {"kiro doctor": (1,)}
#: Commands that go on until a person ends them.
_ENDLESS = ("watch", "--follow")
#: What they say then: of the loop, and of a service's log.
_GOING_ON = ("Ctrl-C ends it", "listening", "start worker process")
_PROGRAMS = Path(sys.executable).parent


def test_the_commands_of_this_repository(warmed: Ran, tmp_path: Path) -> None:
    root = tmp_path / "a copy"
    _copy(root)
    write_texts(tmp_path / "lemmy", {"Cargo.toml": '[package]\nname = "lemmy"\nversion = "0.1.0"\n'})
    for folder in (root, tmp_path / "lemmy"):
        git("init", "-q", str(folder))
        git("-C", str(folder), "add", "--all")
        git("-C", str(folder), "commit", "-qm", "as it is")
        git("-C", str(folder), "update-ref", "refs/remotes/origin/main", "HEAD")
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "company.pem")
    env = _env(f"kiro-documented-{os.getpid()}", ("BACKEND", "FRONTEND"))
    try:
        for typed in HERE:
            _type(typed, root, env)
    finally:
        kiro("down", "--volumes", cwd=root, env=env)
        command("docker", "image", "rm", "--force", "backend-tests", "frontend-tests")
        # the images are this repository's again before what is left of the copy's is removed
        assert kiro("warm-cache").code == 0
        assert kiro("clean-cache", "--what", "images", "--yes", cwd=root, env=env).code == 0


def test_the_commands_of_a_repository_that_adopts_it(engine: None, tmp_path: Path) -> None:
    root = tmp_path / f"your repository {os.getpid()}"
    write_texts(root, SHAPES["npm"])
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    env = _env(f"kiro-documented-{os.getpid()}", ("FIRST",))
    try:
        for typed in ELSEWHERE:
            _type(typed, root, env)
        left = {
            path: path.read_bytes()
            for path in root.rglob("*")
            if path.is_file() and ".kiro" not in path.parts
        }
        assert left == before
    finally:
        command("docker", "compose", "--project-name", env["COMPOSE_PROJECT_NAME"], "down", "--volumes")
        kiro("clean-cache", "--yes", cwd=root, env=env)


def _copy(root: Path) -> None:
    """All that git knows of this repository, and the environment that `make` would make there."""
    for name in git("-C", str(ROOT), "ls-files", "-z").split("\0"):
        if name and (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name, follow_symlinks=False)
    (root / ".venv").mkdir()
    for part in _PROGRAMS.parent.iterdir():
        if part.name != ".installed":
            (root / ".venv" / part.name).symlink_to(part)
    (root / ".venv/.installed").touch()


def _env(project: str, services: tuple[str, ...]) -> Mapping[str, str]:
    return {
        "COMPOSE_PROJECT_NAME": project,
        "PATH": f"{_PROGRAMS}:{os.environ['PATH']}",
        **{f"{name}_PORT": str(free_port()) for name in services},
    }


def _type(typed: str, root: Path, env: Mapping[str, str]) -> None:
    if typed.endswith(_ENDLESS):
        _type_endless(typed, root, env)
        return
    ran = command("bash", "-c", typed, cwd=root, env=env, timeout=1200)
    assert ran.code in (0, *ALLOWED.get(typed, ())), f"{typed}\n{ran.out[-2000:]}\n{ran.err[-3000:]}"


def _type_endless(typed: str, root: Path, env: Mapping[str, str]) -> None:
    """Until it does what it goes on doing, then Ctrl-C."""
    file = root.parent / "typed.log"
    with file.open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", typed],
            cwd=root, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            _until_it_goes_on(process, file)
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    # make turns the end of what it started into its own code
    assert code in {0, 130, -signal.SIGINT, 2}, f"{typed}: {code}\n{file.read_text(errors='replace')[-3000:]}"


def _until_it_goes_on(process: subprocess.Popen[bytes], file: Path) -> None:
    end = time.monotonic() + 600
    while True:
        said = file.read_text(errors="replace")
        if any(sign in said for sign in _GOING_ON):
            return
        assert process.poll() is None, said[-3000:]
        assert time.monotonic() < end, said[-3000:]
        time.sleep(0.2)
