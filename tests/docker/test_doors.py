"""What each door to the same Dockerfile promises (docs/promises.md), and what it does not.

What the Dockerfiles carry themselves is tried with plain `docker build` (test_traps, test_fresh), what `kiro` adds in
test_never_stale and test_context, Tilt in tests/long/test_tilt.py.
Here: plain builds and Compose side by side with `kiro`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engine import docker, kiro

pytestmark = pytest.mark.docker

PROJECT = f"kiro-test-{os.getpid()}"
IMAGE = f"{PROJECT}/app:dev"
DOCKERFILE = 'FROM debian:13-slim\nCOPY . /app\nSTOPSIGNAL SIGKILL\nCMD ["sleep", "600"]\n'
COMPOSE = f"""\
name: {PROJECT}
services:
  app:
    image: {IMAGE}
    build: {{context: app, dockerfile: Dockerfile.fast}}
    network_mode: none
"""
Door = Callable[[Path], None]


def plain(root: Path) -> None:
    docker("build", "--quiet", "--file", "app/Dockerfile.fast", "--tag", IMAGE, "app", cwd=root)


def compose(root: Path) -> None:
    docker("compose", "build", "--quiet", cwd=root)


def by_kiro(root: Path) -> None:
    ran = kiro("build", cwd=root)
    assert ran.code == 0, ran.err


@pytest.fixture
def repository(tiny: Path) -> Iterator[Path]:
    (tiny / "compose.yaml").write_text(COMPOSE)
    (tiny / "app/.dockerignore").write_text(".dockerignore\nDockerfile*\n")
    (tiny / "app/Dockerfile.fast").write_text(DOCKERFILE)
    (tiny / "app/text").write_text("one")
    yield tiny
    docker("compose", "down", "--timeout", "0", cwd=tiny)
    found = docker("image", "ls", "--quiet", IMAGE)
    for image in set(found.split()):
        docker("rmi", "--force", image)


def held(root: Path, door: Door) -> str:
    """What the image holds once a door has built it."""
    door(root)
    return docker("run", "--rm", "--network=none", IMAGE, "cat", "/app/text")


def edit(root: Path, text: str) -> Path:
    """An edit that leaves size and time as they were."""
    path = root / "app/text"
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path


@pytest.mark.parametrize("door", [plain, compose])
def test_only_kiro_sees_an_edit_that_looks_like_none(repository: Path, door: Door) -> None:
    assert held(repository, door) == "one"
    text = edit(repository, "two")
    assert held(repository, door) == "one", "BuildKit sends it now: docs/promises.md says otherwise"
    assert held(repository, by_kiro) == "two"
    edit(repository, "six")
    text.touch()
    assert held(repository, door) == "six"


@pytest.mark.parametrize("door", [plain, compose])
def test_an_edit_with_a_time_of_its_own_is_built_at_every_door(repository: Path, door: Door) -> None:
    """Also with one that is older than all before."""
    assert held(repository, door) == "one"
    (repository / "app/text").write_text("two")
    os.utime(repository / "app/text", (1, 1))
    assert held(repository, door) == "two"


def served(root: Path) -> str:
    return docker("compose", "exec", "-T", "app", "cat", "/app/text", cwd=root)


def test_compose_starts_what_was_built_and_kiro_what_is_saved(repository: Path) -> None:
    compose(repository)
    (repository / "app/text").write_text("new")
    docker("compose", "up", "--detach", cwd=repository)
    assert served(repository) == "one"
    ran = kiro("up", cwd=repository)
    assert ran.code == 0, ran.err
    assert served(repository) == "new"
