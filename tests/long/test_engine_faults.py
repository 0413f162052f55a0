"""Engines that were killed, are not ours, or stop while we work. On an engine of the tests' own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.engine import docker as docker_engine
from tests.support.engine import docker, kiro
from tests.support.private_engine import PrivateEngine, private_engine

pytestmark = [pytest.mark.docker, pytest.mark.long]


@pytest.fixture(scope="module")
def second(engine: None) -> Iterator[PrivateEngine]:
    folder = Path(tempfile.mkdtemp(prefix="kiro-engine-"))  # short: a socket's path has 108 bytes at most
    with private_engine(folder) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "kiro.yaml").write_text(f"project: kiro-fault-{os.getpid()}\nservices:\n  - name: app\n")
    (tmp_path / "app/Dockerfile.fast").write_text(
        "FROM debian:13-slim\nRUN --network=none echo made > /made\n"
    )
    return tmp_path


def test_an_engine_that_was_killed_starts_again(second: PrivateEngine) -> None:
    """It leaves its pid file, its sockets and a containerd that nobody owns."""
    before = second.pid()
    second.kill()
    assert not docker_engine.answers(second.address)
    assert (second.folder / "engine.pid").exists()
    second.start()
    assert docker_engine.answers(second.address)
    assert second.pid() != before


def test_a_pid_file_that_names_somebody_else_is_no_obstacle(second: PrivateEngine) -> None:
    second.stop()
    (second.folder / "engine.pid").write_text(str(os.getpid()))
    second.start()
    assert docker_engine.answers(second.address)


def test_an_engine_that_is_not_ours_gets_stand_ins_as_named_contexts_only(
    second: PrivateEngine, project: Path, warmed: object
) -> None:
    """No other project may be fed a stand-in under the official name."""
    root = second.folder / "root.tar"
    docker("save", "--output", str(root), "kiro-standin/root:trixie")
    docker("--host", second.address.url, "load", "--input", str(root))
    ran = kiro("warm-cache", "--format", "json", cwd=project, env=second.env)
    assert ran.code == 0, ran.err
    assert [(base["ref"], base["status"]) for base in ran.json["base_images"]] == [
        ("debian:13-slim", "stand-in")
    ]
    assert "stand-ins in use" in ran.err
    names = docker("--host", second.address.url, "images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert "kiro-standin/debian:13-slim" in names
    assert "debian:13-slim" not in names
    again = kiro("warm-cache", "--format", "json", cwd=project, env=second.env)
    assert [s["cached"] for i in again.json["services"] for s in i["stages"]] == [True]


def test_an_engine_that_stops_is_said_and_never_replaced(second: PrivateEngine, project: Path) -> None:
    """DOCKER_HOST names it: `--setup` must not install another one beside it."""
    second.stop()
    try:
        for command in (("build",), ("warm-cache", "--setup"), ("up",)):
            ran = kiro(*command, cwd=project, env=second.env)
            assert ran.code == 3, (command, ran.err)
            assert f"no Docker engine answers at {second.address.url} (DOCKER_HOST)" in ran.err
    finally:
        second.start()
