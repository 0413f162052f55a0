"""`kiro doctor` on a real engine: no false alarm, each planted fault with its place, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.doctor.mounts import try_mounts
from kiro_invoke.engine.protocol import CacheRecord
from tests.docker.test_warm_cache import docker_engine
from tests.support.engine import ROOT, Ran, docker, kiro

pytestmark = pytest.mark.docker

BASE = f"kiro-doctor-base-{os.getpid()}:1"
HEALTHY = f"""\
FROM {BASE}
WORKDIR /app
RUN true
COPY src src
RUN echo built
"""


@pytest.fixture(scope="module")
def base(engine: None) -> Iterator[str]:
    """A base image with a shell, under a name of its own."""
    docker("tag", "debian:13-slim", BASE)
    try:
        yield BASE
    finally:
        docker("image", "rm", BASE)


@pytest.fixture
def repository(tmp_path: Path, base: str) -> Path:
    for name, text in {
        "kiro.yaml": f"project: kiro-doctor-{os.getpid()}\nservices:\n  - name: web\n",
        "web/Dockerfile.fast": HEALTHY,
        "web/.dockerignore": "Dockerfile*\n.dockerignore\n",
        "web/src/main": "1\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def doctor(folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Ran:
    return kiro("doctor", *arguments, "--format", "json", cwd=folder, env=env)


def found(ran: Ran, verdict: str = "problem") -> set[tuple[str, str, int]]:
    checks = [check for check in ran.json["checks"] if check["verdict"] == verdict]
    return {(check["check"], check.get("file", ""), check.get("line", 0)) for check in checks}


def of_trials() -> list[CacheRecord]:
    return [record for record in docker_engine().cache_records() if "kiro-mount" in record.description]


def test_a_healthy_repository_has_no_problem_and_nothing_is_left(repository: Path) -> None:
    ran = doctor(repository)
    assert (ran.code, found(ran)) == (0, set()), ran.out
    done = {check["check"]: check for check in ran.json["checks"]}
    assert {"cache-mounts", "builder", "clock", "disk", "file-events"} <= {
        name for name, check in done.items() if check["verdict"] == "ok"
    }
    assert of_trials() == []
    assert {path.name for path in (repository / ".kiro").iterdir()} <= {".gitignore", "plugins.json"}


def test_our_own_services_have_no_problem(engine: None) -> None:
    ran = doctor(ROOT)
    assert (ran.code, found(ran)) == (0, set()), ran.out


def test_every_anti_pattern_is_found_where_it_stands(repository: Path, base: str) -> None:
    (repository / "web/Dockerfile.fast").write_text(
        f"""\
# syntax=docker/dockerfile:1.4
FROM node AS build
ARG GIT_SHA
COPY . .
RUN apt-get update && apt-get install -y curl
RUN npm ci --only=production
RUN npm run build
FROM {base} AS cook
RUN cargo install cargo-chef
RUN cargo chef cook --recipe-path recipe.json
COPY --from=build /app/ .
RUN --mount=type=cache,target=/app/target cargo build --release
"""
    )
    (repository / "web/node_modules").mkdir()
    (repository / "web/node_modules/a.js").write_text("1")
    ran = doctor(repository, env={"DOCKER_BUILDKIT": "0"})
    file = "web/Dockerfile.fast"
    assert ran.code == 1
    assert found(ran) == {
        ("environment", "", 0),
        ("syntax-line", file, 1),
        ("floating-base", file, 2),
        ("changing-argument", file, 3),
        ("copy-before-install", file, 5),
        ("apt-mount", file, 5),
        ("copy-before-install", file, 6),
        ("production-install", file, 6),
        ("cargo-chef", file, 9),
        ("target-mount", file, 12),
        ("dockerignore", "web/.dockerignore", 0),
    }


def test_without_an_engine_the_rest_is_told(repository: Path) -> None:
    ran = doctor(repository, env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert (ran.code, found(ran)) == (1, {("engine", "", 0)})
    assert "cache-mounts" in {check for check, _, _ in found(ran, "skipped")}


def test_a_mount_is_really_written_and_read(base: str, tmp_path: Path) -> None:
    engine = docker_engine()
    tried = try_mounts(engine, base, tmp_path, f"kiro-doctor-{os.getpid()}")
    assert (tried.wrote, tried.read, tried.said) == (True, True, "")
    tried = try_mounts(engine, "scratch", tmp_path, f"kiro-doctor-{os.getpid()}")
    assert (tried.wrote, tried.read) == (False, False)
    assert "ERROR" in tried.said
    assert of_trials() == []
