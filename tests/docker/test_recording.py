"""What is remembered of builds on a real engine, by small services that build in a second."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.metrics.entry import CACHED, RAN, BuildRow, ImageEntry
from kiro_invoke.metrics.store import FILE, Store
from tests.support.engine import ROOT, docker, kiro

pytestmark = pytest.mark.docker

#: Its dependency layer is made by a command that looks like npm's: a step is known by its text.
DOCKERFILE = """\
FROM debian:13-slim AS planner
WORKDIR /plan
COPY package.json package-lock.json ./
RUN grep -v '"version"' package.json > plan.json && rm package.json package-lock.json

FROM debian:13-slim AS install
RUN --mount=type=bind,from=planner,source=/plan,target=/plan \\
    npm() { cp /plan/plan.json /installed; }; npm ci

FROM install AS dev
COPY . /app
RUN cp /app/src.js /built
"""
PROJECT = f"kiro-test-{os.getpid()}"


@pytest.fixture(autouse=True)
def no_image_left(engine: None) -> Iterator[None]:
    yield
    found = docker("image", "ls", "--quiet", "--filter", f"label=dev.kiro.project={PROJECT}")
    if found:
        docker("rmi", "--force", *set(found.split()))


@pytest.fixture
def web(tiny: Path) -> Path:
    """A repository with one service that looks like npm's, never built before."""
    (tiny / "kiro.yaml").write_text(f"project: {PROJECT}\nservices:\n  - name: app\n    ecosystem: npm\n")
    write(tiny, "Dockerfile.fast", DOCKERFILE)
    write(tiny, ".dockerignore", ".dockerignore\nDockerfile*\n")
    write(tiny, "package.json", package())
    write(tiny, "package-lock.json", '{"lockfileVersion": 3, "packages": {}}')
    write(tiny, "src.js", f"// {time.time_ns()}\n")
    return tiny


def package(version: str = "1.0.0", **dependencies: str) -> str:
    """A package.json that no engine has seen."""
    found = {"name": f"app-{time.time_ns()}", "version": version, "dependencies": dependencies}
    return json.dumps(found, indent=1)


def write(root: Path, name: str, text: str) -> None:
    (root / "app" / name).write_text(text)


def build(root: Path, *arguments: str) -> str:
    """What a build says besides its result."""
    ran = kiro("build", *arguments, cwd=root)
    assert ran.code == 0, ran.err
    return ran.err


def remembered(root: Path) -> tuple[tuple[BuildRow, ImageEntry], ...]:
    store = Store(root / ".kiro", pytest.fail)
    images = {row.build: row.image for row in store.images()}
    return tuple((row, images[row.id]) for row in store.builds())


def verdicts(root: Path) -> list[tuple[str, str, str]]:
    return [(image.kind, image.predicted, image.verdict) for _, image in remembered(root)]


def test_builds_are_remembered_with_what_led_to_them(web: Path) -> None:
    begun = time.time()
    build(web)
    write(web, "src.js", f"// {time.time_ns()}{'x' * 50_000}\n")
    build(web)
    build(web)
    first, edited, same = remembered(web)
    assert [row.command for row, _ in (first, edited, same)] == ["build"] * 3
    assert (first[1].kind, first[1].cause) == ("", "first build")
    assert (edited[1].kind, edited[1].cause, edited[1].file) == ("SOURCE", "src.js changed", "app/src.js")
    assert (same[1].kind, same[1].cause, same[1].ran) == ("IGNORED", "nothing changed", 0)
    assert begun <= first[0].began <= edited[0].began <= same[0].began <= time.time()
    assert all(0 < row.seconds < 60 and row.ok for row, _ in remembered(web))
    sent = [row.context_bytes or 0 for row, _ in remembered(web)]
    assert 50_000 < sent[1] < 60_000
    assert max(sent[0], sent[2]) < 5_000
    assert all((row.cache_layers or 0) > 0 and row.cache_mounts is not None for row, _ in remembered(web))
    assert edited[1].ran == 2
    assert edited[1].cached == 4
    steps = Store(web / ".kiro", pytest.fail).steps(edited[0].id)
    ran = {step.text.split()[0] for step in steps if not step.cached and not step.text.startswith("FROM ")}
    assert ran == {"COPY", "RUN"}
    assert all(0 <= step.started - edited[0].began < 60 for step in steps if not step.cached)
    labels = json.loads(docker("image", "inspect", "-f", "{{json .Config.Labels}}", f"{PROJECT}/app:dev"))
    assert same[1].revision == edited[1].revision == labels["dev.kiro.revision"]


def test_the_engine_does_with_the_dependency_layer_what_was_foretold(web: Path) -> None:
    name = json.loads((web / "app/package.json").read_text())
    build(web)
    write(web, "src.js", f"// {time.time_ns()}\n")
    build(web)
    write(web, "package.json", json.dumps(name | {"version": "1.0.1"}, indent=1))
    build(web)
    write(web, "package.json", json.dumps(name | {"dependencies": {"a": "1"}}, indent=1))
    build(web)
    build(web)
    assert verdicts(web) == [
        ("", "", RAN),
        ("SOURCE", CACHED, CACHED),
        ("SOURCE", CACHED, CACHED),
        ("DEPENDENCY", RAN, RAN),
        ("IGNORED", CACHED, CACHED),
    ]


def test_a_build_that_fails_is_remembered(web: Path) -> None:
    build(web)
    write(web, "Dockerfile.fast", f"{DOCKERFILE}RUN echo broken && exit 3\n")
    assert kiro("build", cwd=web).code == 4
    (_, failed) = remembered(web)
    assert not failed[0].ok
    assert re.fullmatch(r"app: dev RUN echo broken && exit 3 failed", failed[0].message)
    assert (failed[1].kind, failed[1].file) == ("BASE", "app/Dockerfile.fast")
    assert failed[1].cached > 0


def test_two_builds_at_once_are_both_remembered(web: Path) -> None:
    (web / "other").mkdir()
    with (web / "kiro.yaml").open("a") as file:
        file.write("  - name: other\n")
    (web / "other/Dockerfile.fast").write_text("FROM debian:13-slim\nCOPY . /app\n")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "kiro_invoke.cli", "build", "--service", service],
            cwd=web,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for service in ("app", "other")
    ]
    said = [one.communicate(timeout=120)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], said
    assert sorted(image.service for _, image in remembered(web)) == ["app", "other"]


@pytest.mark.parametrize("trouble", ["damaged", "unwritable"])
def test_a_store_that_cannot_be_used_fails_no_build_and_is_said(web: Path, trouble: str) -> None:
    build(web)
    file = web / ".kiro" / FILE
    file.unlink()
    for end in ("-wal", "-shm"):
        file.with_name(FILE + end).unlink(missing_ok=True)
    if trouble == "damaged":
        file.write_bytes(b"not a database " * 100)
        said = [line for line in build(web).splitlines() if "history" in line]
        assert len(said) == 1
        assert "begun anew" in said[0]
        assert len(remembered(web)) == 1
    else:
        file.mkdir()
        said = [line for line in build(web).splitlines() if "history" in line]
        assert len(said) == 1
        assert said[0].startswith("this build is not in the history: ")


def test_timings_show_the_stages_that_ran(web: Path) -> None:
    ran = kiro("build", "--timings", cwd=web)
    assert ran.code == 0, ran.err
    found = ran.out[ran.out.index("timings") :].splitlines()
    assert found[1] == f"app  {PROJECT}/app:dev"
    assert {line.split()[0] for line in found if "#" in line} == {"planner", "install", "dev"}
    assert max(map(len, found)) <= 80
    assert kiro("build", "--timings", cwd=web).out.endswith("timings  every stage came from the cache\n")
