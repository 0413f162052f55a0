"""`show-cache` and `clean-cache` on a real engine of the tests' own: what is ours goes, and nothing of others."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.engine import docker as docker_engine
from kiro_invoke.engine import process
from kiro_invoke.engine.cli_files import KnownPlugins
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.model.service import Project
from tests.support.engine import build_steps, command, docker, kiro
from tests.support.private_engine import private_engine

pytestmark = [pytest.mark.docker, pytest.mark.long]

MB = 1_000_000
BASE = "debian:13-slim"
#: What the services of everybody begin with.
TOOLCHAIN = f"""\
FROM {BASE} AS toolchain
RUN --network=none head -c {3 * MB} /dev/urandom >/tool
WORKDIR /app
"""
APP = f"""\
{TOOLCHAIN}
FROM toolchain AS cook
COPY deps.txt .
RUN --network=none --mount=type=cache,id=app-deps,target=/deps,from=toolchain,source=/app \\
    head -c {4 * MB} /dev/urandom >/deps/all && cp /deps/all /cooked

FROM cook AS dev
COPY . .
RUN --network=none --mount=type=cache,id=app-target,target=/mounted,from=cook,source=/app \\
    head -c {2 * MB} /dev/urandom >/mounted/program && cp /mounted/program /built \\
 && if grep SLOW source.txt; then sleep 1; fi
CMD ["sleep", "1000"]
"""
WEB = f"""\
{TOOLCHAIN}
COPY . .
RUN --network=none --mount=type=cache,id=web-modules,target=/modules \\
    head -c {MB} /dev/urandom >/modules/x && cp /modules/x /
"""
#: Of its dependencies, nothing is in the image.
STAGED = f"""\
{TOOLCHAIN}
FROM toolchain AS build
COPY deps.txt .
RUN --network=none head -c {MB} /dev/urandom >/dependencies
COPY . .
RUN --network=none cp source.txt /built
FROM toolchain
COPY --from=build /built /built
"""
STOCK = f"""\
{TOOLCHAIN}
COPY . .
RUN --network=none --mount=type=cache,id=stock-target,target=/t \\
    head -c {MB} /dev/urandom >/t/x && cp source.txt t.txt \\
 && if grep SLOW source.txt; then sleep 1; fi
"""
#: Without kiro: mounts of default ids in no namespace.
PLAIN = f"""\
{TOOLCHAIN}
COPY source.txt .
RUN --network=none --mount=type=cache,target=/root/.npm --mount=type=cache,target=/usr/local/cargo/registry \\
    head -c {MB} /dev/urandom >/root/.npm/x && date +%N >/usr/local/cargo/registry/when && cp /root/.npm/x /
"""
LOOK = f"""\
FROM {BASE}
ARG AGAIN
RUN --network=none --mount=type=cache,target=/root/.npm --mount=type=cache,target=/usr/local/cargo/registry \\
    : $AGAIN && stat -c %s /root/.npm/x && cat /usr/local/cargo/registry/when
"""


_STEP = re.compile(r"\[.*\d/\d\] (?:RUN|COPY|WORKDIR) ")


@pytest.fixture(scope="module")
def engine(engine: None) -> Iterator[DockerEngine]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kiro-engine-", dir=memory))
    with private_engine(folder) as private, pytest.MonkeyPatch.context() as patch:
        base = f"docker save {BASE} | docker --host {private.address.url} load"
        assert command("sh", "-c", base).code == 0
        # kiro, buildx and the docker CLI take their engine from the environment
        patch.setenv("DOCKER_HOST", private.address.url)
        known = KnownPlugins(folder / "plugins.json", os.environ)
        yield docker_engine.connect(private.address, process.run, ours=False, known=known)
    shutil.rmtree(folder, ignore_errors=True)


class Checkout:
    """A checkout of a project, with its services' Dockerfiles."""

    def __init__(self, root: Path, project: str, **services: str) -> None:
        self.root, self.name = root, Project(root, project, ()).checkout
        names = "".join(f"  - name: {name}\n" for name in services)
        self.write("kiro.yaml", f"project: {project}\nservices:\n{names}")
        for name, text in services.items():
            self.write(f"{name}/Dockerfile.fast", text)
            self.write(f"{name}/deps.txt", f"of {project}\n")
            self.write(f"{name}/source.txt", f"of {root.name}\n")

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def told(self, *arguments: str) -> dict[str, Any]:
        """What a command says of itself."""
        ran = kiro(*arguments, "--format", "json", cwd=self.root)
        assert ran.code == 0, f"{arguments}: {ran.out}\n{ran.err}"
        return ran.json

    def build(self, *options: str) -> list[str]:
        """Build; the stages that were not taken from the cache."""
        services = self.told("build", *options)["services"]
        return [
            f"{one['name']} {stage['name']}"
            for one in services
            for stage in one["stages"]
            if not stage["cached"]
        ]


class World:
    """The checkout that is cleaned, and everybody else on its engine."""

    def __init__(self, root: Path, engine: DockerEngine) -> None:
        self.engine, self.plain = engine, root / "plain"
        self.ours = Checkout(root / "ours", "shop", app=APP, web=WEB)
        self.twin = Checkout(root / "twin", "shop", app=APP, web=WEB)
        self.stock = Checkout(root / "stock", "stock", app=STOCK)
        self.plain.mkdir()
        (self.plain / "Dockerfile").write_text(PLAIN)
        (self.plain / "source.txt").write_text("plain\n")
        (self.plain / "look").mkdir()
        (self.plain / "look/Dockerfile").write_text(LOOK)

    def build_theirs(self) -> None:
        self.twin.build()
        self.stock.build()
        self.build_plain()
        docker("volume", "create", "bystander")
        docker("tag", BASE, "bystander:1")
        docker("create", "--name", "bystander", "--network", "none", "bystander:1", "true")

    def build_plain(self) -> list[str]:
        """Build without kiro; the steps that ran."""
        steps = build_steps("--provenance=false", "--load", "--tag", "plain:1", str(self.plain))
        return [step["name"] for step in steps if not step.get("cached") and _STEP.match(step["name"])]

    def ran(self) -> list[str]:
        """What the others' next builds run."""
        return [*self.twin.build(), *self.stock.build(), *self.build_plain()]

    def in_mounts(self) -> list[str]:
        """What the mounts without a namespace hold."""
        ran = command(
            "docker", "buildx", "build", "--progress=plain", f"--build-arg=AGAIN={time.time_ns()}",
            "--output=type=cacheonly",
            str(self.plain / "look"),
        )  # fmt: skip
        assert ran.code == 0, ran.err
        return re.findall(r"^#\d+ [\d.]+ (\d+)$", ran.err, re.MULTILINE)

    def mounts(self, *, ours: bool) -> set[str]:
        return {
            record.id
            for record in self.engine.cache_records()
            if record.kind == MOUNT
            and (known := mount_id(record.description))
            and (known[0] == self.ours.name) == ours
        }

    def images(self, *, ours: bool) -> set[str]:
        found = self.engine.images_labelled("")
        return {one.id for one in found if (one.labels.get(LABEL_CHECKOUT) == self.ours.name) == ours}

    def theirs(self) -> tuple[object, ...]:
        """All that must be as it was, whatever is cleaned of ours."""
        volumes, containers = docker("volume", "ls", "-q"), docker("ps", "-aq", "--no-trunc")
        return self.mounts(ours=False), self.images(ours=False), volumes, containers

    def bytes(self) -> int:
        """What images and the build cache hold, once the engine has done with what it still held."""
        before = -1
        while (now := self._bytes()) != before:
            before = now
            time.sleep(0.2)
        return now

    def _bytes(self) -> int:
        records = self.engine.cache_records()
        return self.engine.images_bytes() + sum(record.size for record in records if not record.shared)


@pytest.fixture
def world(tmp_path: Path, engine: DockerEngine) -> Iterator[World]:
    yield World(tmp_path, engine)
    docker("rm", "--force", *docker("ps", "-aq").split(), "none")
    docker("volume", "rm", "--force", "bystander")
    docker("tag", BASE, "bystander:1")
    images = [one.id for one in engine.images_labelled("") if BASE not in one.names]
    docker("rmi", "--force", "bystander:1", *images)
    docker("builder", "prune", "--all", "--force")  # an engine of our own


#: What is asked for, and what of ours is gone then: mounts, images.
FORMS: Sequence[tuple[tuple[str, ...], bool, bool]] = (
    (("--older-than", "7d"), False, False),
    (("--max-size", "1TB"), False, False),
    (("--service", "web", "--what", "build"), False, False),
    (("--what", "images"), False, True),
    (("--what", "build"), True, True),
    (("--what", "all"), True, True),
)


#: The mounts that go with some of them: there are more, or none.
_MOUNTS_GONE = {"--older-than": [], "--max-size": [], "--service": ["mount web-modules"]}


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_every_form_of_clean_leaves_all_that_is_of_others(world: World, first: str) -> None:
    """Whoever builds first makes what the others take from the cache. Of our layers, the twin may use any."""
    if first == "ours":
        world.ours.build()
    world.build_theirs()
    world.ours.build()
    inside = world.in_mounts()
    assert len(inside) == 2
    theirs = world.theirs()
    for options, no_mounts, no_images in FORMS if first == "ours" else FORMS[-1:]:
        before = world.bytes()
        answer = world.ours.told("clean-cache", "--yes", *options)
        assert world.theirs() == theirs, options
        freed = before - world.bytes()
        assert abs(answer["freed_bytes"] - freed) <= 0.02 * MB + 0.02 * freed, options
        assert (not world.mounts(ours=True), not world.images(ours=True)) == (no_mounts, no_images), options
        mounts = [row["what"] for row in answer["records"] if row["what"].startswith("mount ")]
        assert mounts == _MOUNTS_GONE.get(options[0], mounts), options
    assert {row["cause"] for row in answer["kept"] if row["kind"] == "layers"} == {
        f"{world.twin.name} builds the same steps, and may use it"
    }
    assert world.ran() == []
    assert world.in_mounts() == inside


def test_a_twin_that_took_all_from_the_cache_keeps_its_dependencies(
    tmp_path: Path, world: World, engine: DockerEngine
) -> None:
    """Not a step of its builds ever ran: of its layers only its image tells."""
    one, two = (Checkout(tmp_path / name / "shop", "shop", app=STAGED) for name in ("one", "two"))
    one.build()
    assert two.build() == []
    made = dependencies(engine)
    one.told("clean-cache", "--yes")
    assert two.build() == []
    two.write("app/source.txt", "edited\n")
    two.build()
    assert made == dependencies(engine)
    assert run("shop/app:dev", "cat", "/built") == "edited\n"


def test_where_nobody_builds_the_same_all_of_ours_goes_and_a_build_makes_it_anew(world: World) -> None:
    world.stock.build()
    world.build_plain()
    others = {record.id for record in world.engine.cache_records()}
    world.ours.build()
    theirs, inside = world.theirs(), world.bytes()
    foretold = world.ours.told("clean-cache", "--dry-run")
    assert world.bytes() == inside
    answer = world.ours.told("clean-cache", "--yes")
    assert world.theirs() == theirs
    assert {row["id"] for row in answer["records"]} == {row["id"] for row in foretold["records"]}
    assert abs(answer["frees_bytes"] - answer["freed_bytes"]) <= 0.1 * MB
    assert abs(inside - world.bytes() - answer["freed_bytes"]) <= 0.1 * MB
    # dependencies, program, pages and the three mounts that made them
    assert answer["freed_bytes"] >= (4 + 2 + 1) * 2 * MB
    left = {record.id: record for record in world.engine.cache_records()}
    new = [record for id, record in left.items() if id not in others and record.kind != "source.local"]
    assert new == []
    assert [*world.stock.build(), *world.build_plain()] == []
    assert world.ours.build() == ["app cook", "app dev", "web toolchain"]
    assert "of ours" in run("shop/app:dev", "cat", "source.txt")
    assert run("shop/app:dev", "wc", "-c", "/built").split()[0] == str(2 * MB)


def test_the_size_that_may_stay_is_kept_to(world: World) -> None:
    world.ours.build()
    world.ours.write("app/source.txt", "edited\n")
    world.ours.build()
    whole = world.ours.told("show-cache")["bytes"]
    world.ours.told("clean-cache", "--yes", "--max-size", "8MB")
    left = world.ours.told("show-cache")["bytes"]
    assert left <= 8 * MB < whole


def test_a_running_containers_image_is_kept_and_named(world: World) -> None:
    world.ours.build()
    docker("run", "--detach", "--name", "running", "--network", "none", "shop/app:dev")
    ran = kiro("clean-cache", "--yes", cwd=world.ours.root)
    assert ran.code == 0, ran.err
    assert "keep shop/app:dev" in ran.out
    assert "container running stands on it" in ran.out
    kept = {image.names for image in world.engine.images_labelled(LABEL_CHECKOUT)}
    assert kept == {("shop/app:dev",)}
    assert docker("exec", "running", "cat", "source.txt") == "of ours\n"
    # its layers are cached still; the other service's are gone
    assert world.ours.build() == ["web toolchain"]


# --- beside builds


def test_a_build_of_ours_and_a_clean_wait_for_each_other(world: World) -> None:
    for number in range(2):
        world.ours.write("app/source.txt", f"SLOW {number}\n")
        first, second = ("build", "clean-cache --yes") if number % 2 else ("clean-cache --yes", "build")
        with ThreadPoolExecutor() as pool:
            begun = pool.submit(world.ours.told, *first.split())
            time.sleep(0.4)
            other = pool.submit(world.ours.told, *second.split())
            begun.result()
            other.result()
        world.ours.build()
        assert run("shop/app:dev", "cat", "source.txt") == f"SLOW {number}\n"
        assert run("shop/app:dev", "wc", "-c", "/built").split()[0] == str(2 * MB)


def test_a_build_of_somebody_elses_during_a_clean_is_whole(world: World) -> None:
    world.ours.build()
    world.stock.write("app/source.txt", "SLOW, of stock\n")
    with ThreadPoolExecutor() as pool:
        build = pool.submit(world.stock.build)
        time.sleep(0.8)
        world.ours.told("clean-cache", "--yes")
        assert build.result()
    assert run("stock/app:dev", "cat", "t.txt") == "SLOW, of stock\n"
    assert world.stock.build() == []
    assert not world.mounts(ours=True)


# --- sizes


def test_sizes_agree_with_what_docker_tells(world: World) -> None:
    world.ours.build()
    world.build_theirs()
    value = world.ours.told("show-cache")
    records = {row["id"]: row["bytes"] for row in value["items"] if not row["id"].startswith("sha256:")}
    told = docker("buildx", "du", "--verbose")
    sizes = dict(re.findall(r"^ID:\s+(\w+)$.*?^Size:\s+(\S+)$", told, re.MULTILINE | re.DOTALL))
    assert len(records) >= 11
    for id, size in records.items():
        assert size == pytest.approx(human(sizes[id]), rel=0.01), id
    whole = json.loads(docker("system", "df", "-v", "--format", "json"))
    cached = sum(human(row["Size"]) for row in whole["BuildCache"] if row["Shared"] == "false")
    assert value["cache_bytes"] == pytest.approx(cached, rel=0.01)
    told_of = {row["ID"].removeprefix("sha256:")[:12]: row for row in whole["Images"]}
    images = {
        row["id"].removeprefix("sha256:")[:12]: row["bytes"]
        for row in value["items"]
        if row["kind"] == "images"
    }
    assert len(images) == 2
    for id, size in images.items():
        assert size == pytest.approx(human(told_of[id]["Size"]), rel=0.01)
    # what no other image holds; each of ours has layers of its own only besides what all begin with
    unique = sum(human(told_of[id]["UniqueSize"]) for id in images)
    unshared = sum(row["bytes"] for row in value["items"] if row["id"] in records and not row["shared"])
    assert value["bytes"] == pytest.approx(unique + unshared, rel=0.02)
    ours = sum(row["bytes"] - row["shared_bytes"] for row in value["holdings"])
    assert ours <= value["bytes"] * 1.001


def dependencies(engine: DockerEngine) -> set[str]:
    found = {r.id for r in engine.cache_records() if r.description.endswith(">/dependencies")}
    assert found
    return found


def human(size: str) -> float:
    """The bytes of a size as docker prints it: 1.5MB, by 1000."""
    match = re.fullmatch(r"([\d.]+)([kMGT]?)B", size)
    assert match, size
    return float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[match[2]]


def run(image: str, *argv: str) -> str:
    return docker("run", "--rm", "--network", "none", image, *argv)
