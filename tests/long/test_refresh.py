"""`refresh-cache` on a real engine: what fails leaves a working state, and what succeeds frees what it replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.cache.namespaces import NAMESPACES, read_namespaces
from kiro_invoke.cache.remembered import LAYERS, read_made
from tests.support.crates import mounts_of, prune, records
from tests.support.engine import docker, kiro

pytestmark = [pytest.mark.docker, pytest.mark.long]

PROJECT = f"kiro-renew-{os.getpid()}"
SERVICES = ("one", "two")
#: Counts, in a mount, how often it ran with it. A secret is no part of the key: it counts where the step runs.
DOCKERFILE = f"""\
FROM debian:13-slim AS base
WORKDIR /kiro/empty
FROM base AS deps
COPY manifest /
RUN --mount=type=cache,id={PROJECT}-@-deps,target=/deps,from=base,source=/kiro/empty \\
    --mount=type=secret,id=mood \\
    echo ran >>/deps/runs && cp /deps/runs /runs && @mood@
FROM deps AS dev
COPY text /
CMD ["sh", "-c", "cat /text; wc -l </runs"]
"""


@pytest.fixture
def root(engine: None, tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "kiro.yaml").write_text(
        f"project: {PROJECT}\nservices:\n  - name: one\n  - name: two\n"
        "secrets:\n  - id: mood\n    file: mood\n"
    )
    (tmp_path / "mood").write_text("good")
    for name in SERVICES:
        (tmp_path / name).mkdir()
        (tmp_path / name / ".dockerignore").write_text("Dockerfile*\n.dockerignore\n")
        (tmp_path / name / "manifest").write_text(f"{tmp_path} {name}")  # no layer of another test is its own
        (tmp_path / name / "text").write_text("first\n")
        # the second one fails, where it does, when the first one's image has its name
        mood = '{ sleep 2; [ "$(cat /run/secrets/mood)" = good ]; }' if name == "two" else "true"
        text = DOCKERFILE.replace("@mood@", mood).replace("@", name)
        (tmp_path / name / "Dockerfile.fast").write_text(text)
    namespace = config.load(tmp_path, {}).checkout
    yield tmp_path
    found = docker("image", "ls", "--quiet", "--filter", f"label=dev.kiro.project={PROJECT}")
    if found:
        docker("rmi", "--force", *set(found.split()))
    prune(mounts_of(namespace))
    prune(record for record in records() if PROJECT in record.description)


def images() -> dict[str, str]:
    return {
        name: docker("image", "inspect", "-f", "{{.Id}}", f"{PROJECT}/{name}:dev").strip()
        for name in SERVICES
    }


def is_there(id: str) -> bool:
    return id in docker("image", "ls", "--all", "--quiet", "--no-trunc").split()


def mounts(root: Path) -> set[str]:
    return {record.id for record in mounts_of(config.load(root, {}).checkout, "-deps")}


def layers(root: Path) -> set[str]:
    """The layers of dependencies that builds here have made."""
    made = read_made(root / ".kiro" / LAYERS).layers
    return {record.id for record in records() if record.id in made and "cp /deps/runs" in record.description}


def run(name: str) -> list[str]:
    return docker("run", "--rm", "--network=none", f"{PROJECT}/{name}:dev").split()


def stages_that_ran(root: Path, *arguments: str) -> set[tuple[str, str]]:
    done = kiro(*arguments, "--format", "json", cwd=root)
    assert done.code == 0, done.err[-3000:]
    return {
        (service["name"], stage["name"])
        for service in done.json["services"]
        for stage in service["stages"]
        if not stage["cached"]
    }


def test_a_refresh_that_fails_half_way_leaves_a_working_state(root: Path) -> None:
    kiro("build", cwd=root)
    before, known = images(), mounts(root)
    assert len(known) == 2
    (root / "mood").write_text("bad")
    ran = kiro("refresh-cache", cwd=root)
    assert ran.code == 4, ran.err
    assert "once more" not in ran.err
    assert images() == before
    assert mounts(root) == known
    assert not (root / ".kiro" / NAMESPACES).exists()
    assert stages_that_ran(root, "build") == set()
    for name in SERVICES:
        (root / name / "text").write_text("second\n")
    assert stages_that_ran(root, "build") == {("one", "dev"), ("two", "dev")}
    assert [run(name)[0] for name in SERVICES] == ["second", "second"]


def test_a_refresh_replaces_what_there_was_and_frees_it(root: Path) -> None:
    kiro("build", cwd=root)
    before, known = images(), mounts(root)
    # what there is, is of two runs
    (root / "one/manifest").write_text(f"{root} more")
    kiro("build", "--service", "one", cwd=root)
    assert run("one") == ["first", "2"]
    (root / "two/text").write_text("second\n")
    replaced = layers(root)
    assert replaced
    ran = stages_that_ran(root, "refresh-cache")
    assert {("one", "deps"), ("two", "deps")} <= ran
    assert run("one") == ["first", "1"]
    assert run("two") == ["second", "1"]
    found = read_namespaces(config.load(root, {}))
    assert found.of("one") == found.of("two") != found.checkout
    now = mounts_of(found.of("one"), "-deps")
    assert len(now) == 2
    assert mounts(root) == {record.id for record in now}
    assert not known & mounts(root)
    assert not replaced & {record.id for record in records()}
    assert len(layers(root)) == 2
    assert not [name for name, id in before.items() if is_there(id)]
    assert stages_that_ran(root, "build") == set()


def test_a_refresh_of_one_service_leaves_the_others_alone(root: Path) -> None:
    kiro("build", cwd=root)
    before = images()
    assert {name for name, _ in stages_that_ran(root, "refresh-cache", "--service", "one")} == {"one"}
    found = read_namespaces(config.load(root, {}))
    assert found.of("two") == found.checkout != found.of("one")
    assert images()["two"] == before["two"]
    kept = [one for one in mounts_of(found.checkout, "-deps") if f'"{found.checkout}/' in one.description]
    assert [f"{PROJECT}-two-deps" in one.description for one in kept] == [True]
    assert stages_that_ran(root, "build") == set()
