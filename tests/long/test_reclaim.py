"""Reclaiming on a real engine of the tests' own: growth is bounded, and nobody else loses anything."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kiro_invoke.builds.bake import LABEL_CHECKOUT, Surroundings
from kiro_invoke.builds.executor import execute
from kiro_invoke.builds.planner import Profile, Recipe, plan_images
from kiro_invoke.cache import made, reclaim
from kiro_invoke.cache.made import ran_here
from kiro_invoke.cache.proving import prove
from kiro_invoke.cache.reclaim import Reclaimed
from kiro_invoke.cache.superseded import KEEP
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.engine import docker as docker_engine
from kiro_invoke.engine import process
from kiro_invoke.engine.cli_files import KnownPlugins
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.model.plan import Sent
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project, Service
from tests.support.private_engine import private_engine
from tests.unit.build_fakes import Seen

pytestmark = [pytest.mark.docker, pytest.mark.long]

MB = 1_000_000
#: What each compilation makes, random as programs are to an engine.
COMPILED = 5 * MB

#: The shape of backend/Dockerfile.fast, without its compilers.
DOCKERFILE = f"""\
FROM debian:13-slim AS toolchain
WORKDIR /kiro/empty
WORKDIR /app

FROM scratch AS planner
COPY deps.txt /kiro/recipe

FROM toolchain AS crates
RUN --network=none --mount=type=bind,from=planner,source=/kiro/recipe,target=/kiro/recipe \\
    head -c {COMPILED} /dev/urandom >/crates

FROM crates AS cook
RUN --network=none --mount=type=bind,from=planner,source=/kiro/recipe,target=/kiro/recipe \\
    --mount=type=cache,id=app-deps,target=/deps,from=toolchain,source=/kiro/empty,sharing=locked \\
    cp /kiro/recipe /deps && mkdir /kiro/cooked && head -c {COMPILED} /dev/urandom >/dependencies

FROM cook AS dev
COPY <<SUPERVISE /supervise
what stands between
SUPERVISE
RUN --network=none --mount=type=bind,target=/context \\
    --mount=type=cache,id=app-cooked,target=/kiro/cooked,from=cook,source=/kiro/cooked,sharing=locked,ro \\
    --mount=type=cache,id=app-target,target=/mounted,from=toolchain,source=/kiro/empty,sharing=locked \\
    head -c {COMPILED} /dev/urandom >/mounted/program && cp /mounted/program /built
"""
_TARGET = "    --mount=type=cache,id=app-target,target=/mounted,from=toolchain,source=/kiro/empty,sharing=locked \\\n"
_COOKED = "id=app-cooked,target=/kiro/cooked,from=cook,source=/kiro/cooked,sharing=locked,ro"
#: With a target that is seeded by the dependency layer instead: each change of dependencies leaves a mount behind, too.
SEEDED = DOCKERFILE.replace(_TARGET, "").replace(
    _COOKED, "id=app-target,target=/mounted,from=cook,source=/kiro/cooked,sharing=locked"
)


@pytest.fixture(scope="module")
def engine(engine: None) -> Iterator[DockerEngine]:
    # in memory where possible: an engine waits for its disk ten times in each of these builds
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="kiro-engine-", dir=memory))
    with private_engine(folder) as private, pytest.MonkeyPatch.context() as patch:
        # buildx takes its engine from the environment: without this, all of it would be built on the shared one
        patch.setenv("DOCKER_HOST", private.address.url)
        base = f"env -u DOCKER_HOST docker save debian:13-slim | docker --host {private.address.url} load"
        subprocess.run(["sh", "-c", base], check=True, capture_output=True)
        known = KnownPlugins(folder / "plugins.json", os.environ)
        yield docker_engine.connect(private.address, process.run, ours=False, known=known)
    shutil.rmtree(folder, ignore_errors=True)


class Checkout:
    """A checkout of the project `shop` with its one service, on a private engine."""

    def __init__(self, root: Path, engine: DockerEngine, dockerfile: str = DOCKERFILE) -> None:
        # folders of one name would be one context to the engine
        context = root / f"app-{root.name}"
        context.mkdir(parents=True)
        (context / "Dockerfile.fast").write_text(dockerfile)
        self.engine = engine
        self.project = Project(
            root,
            "shop",
            (Service("app", context, "shop/app", "other", None, context / "Dockerfile.fast"),),
        )
        self.write(deps="1", source="1")

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return read_recipes(self.project, (Profile.DEV,))

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.project.services[0].context / f"{name}.txt").write_text(text)

    def build(self) -> tuple[Step, ...]:
        """Build as `kiro build` does; the steps."""
        file = self.recipes[0].path
        sending = {("app", file): Sent(file.parent, file, f"kiro-revision-{'0' * 64}")}
        checkout, state = self.project.checkout, self.project.state
        around = Surroundings("shop", checkout=checkout, namespace=checkout, sending=sending)
        plan = plan_images(self.recipes, "test")
        logs, seen = state / "logs", Seen()
        built = execute(plan, around, self.engine, root=self.project.root, logs=logs, observer=seen)
        prove(plan, sending, self.engine, state)
        return built.steps

    def build_and_reclaim(self) -> Reclaimed | None:
        done = reclaim.after_build(
            self.engine, self.project, self.recipes, self.build(), self.engine.cache_records
        )
        assert done is None or not done.trouble
        return done

    def ran(self) -> list[str]:
        """The instructions that another build would run."""
        return [step.text for step in self.build() if ran_here(step)]


@pytest.fixture
def one(tmp_path: Path, engine: DockerEngine) -> Checkout:
    return Checkout(tmp_path / "one", engine)


@pytest.fixture
def two(tmp_path: Path, engine: DockerEngine) -> Checkout:
    return Checkout(tmp_path / "two", engine)


def alone(engine: DockerEngine) -> None:
    """Take away what other checkouts have on the engine: beside them, what was not seen to be made stays."""
    for image in engine.images_labelled(LABEL_CHECKOUT):
        for name in image.names:
            engine.untag(name)
        engine.remove_image(image.id)
    reclaim.prune_leaves(engine, [record.id for record in engine.cache_records()])


def held(engine: DockerEngine) -> int:
    """Bytes that layers and mounts hold, those of images too; once the engine has done with what it still held."""
    before = -1
    while (now := sum(record.size for record in engine.cache_records())) != before:
        before = now
        time.sleep(0.3)
    return now


def test_growth_is_bounded_whatever_is_edited(
    one: Checkout, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without reclaiming, each edit leaves the result of a compilation, a dependency's change three."""
    gathering = 12 * COMPILED
    monkeypatch.setattr(made, "GATHERED_BYTES", gathering)
    one.build_and_reclaim()
    first, most, freed, looks = held(engine), 0, 0, 0
    for number in range(20):
        one.write(deps=f"dependencies {number}")
        done = one.build_and_reclaim()
        most, freed, looks = max(most, held(engine)), freed + (done.freed if done else 0), looks + bool(done)
    assert 3 <= looks <= 5
    assert freed >= (20 - KEEP - 5) * 3 * COMPILED
    for number in range(50):
        one.write(source=f"source {number}")
        looks += one.build_and_reclaim() is not None
        most = max(most, held(engine))
    assert 6 <= looks <= 10
    # of what was used last, crates, dependencies and program are kept once more; the last change may be one too many
    assert most - first <= gathering + KEEP * 3 * COMPILED + COMPILED
    assert one.ran() == []
    one.write(source="source 48")
    assert one.ran() == []


def test_mounts_that_the_dependencies_seed_are_not_left_behind(tmp_path: Path, engine: DockerEngine) -> None:
    """Nothing weighs them between builds: where one is written to, a changed seed is occasion enough."""
    one = Checkout(tmp_path / "seeded", engine, SEEDED)
    one.build_and_reclaim()
    first, freed, growth = held(engine), 0, list[int]()
    for number in range(KEEP + 3):
        one.write(deps=f"seeds {number}")
        done = one.build_and_reclaim()
        assert done is not None
        assert done.cause.startswith("stage cook ran")
        freed += done.freed
        growth.append(held(engine) - first)
    # what an image that was just removed still holds goes at the next look, with its mount
    assert max(growth) <= KEEP * 4 * COMPILED + COMPILED, growth
    assert freed >= 3 * 4 * COMPILED
    assert one.ran() == []


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reclaims after each build."""
    monkeypatch.setattr(made, "GATHERED_BYTES", 0)


@pytest.mark.usefixtures("eager")
def test_another_checkout_keeps_what_it_shares(one: Checkout, two: Checkout, engine: DockerEngine) -> None:
    """The second builds the same dependencies from the cache; the first then goes on to others."""
    for checkout in (one, two):
        checkout.write(deps="shared", source=f"of {checkout.project.root.name}")
        checkout.build_and_reclaim()
    for number in range(KEEP + 1):
        one.write(deps=f"other {number}")
        one.build_and_reclaim()
    assert two.ran() == []
    two.write(source="edited")
    assert not [text for text in two.ran() if "dependencies" in text or "/crates" in text]


@pytest.mark.usefixtures("eager")
def test_another_checkout_keeps_an_image_that_it_never_had_to_build(
    one: Checkout, two: Checkout, engine: DockerEngine
) -> None:
    """No mount of its own tells of it: all that it has was made by the first one's builds."""
    for checkout in (one, two):
        checkout.write(deps="whole", source="whole")
        checkout.build_and_reclaim()
    for number in range(KEEP + 1):
        one.write(deps=f"more {number}", source=f"more {number}")
        one.build_and_reclaim()
    assert two.ran() == []


@pytest.mark.usefixtures("eager")
def test_what_is_in_use_or_named_stays(one: Checkout, engine: DockerEngine) -> None:
    one.write(deps="run", source="run")
    one.build()
    engine._client.containers.create("shop/app:dev", name="kiro-test-reclaim", command="true")
    used = engine.image("shop/app:dev")
    one.write(source="named")
    one.build()
    engine.tag("shop/app:dev", "shop/other:kept")
    for number in range(KEEP + 1):
        one.write(deps=f"later {number}")
        one.build_and_reclaim()
    assert used is not None
    assert engine.image(used.id) is not None
    assert engine.image("shop/other:kept") is not None
    engine._client.containers.get("kiro-test-reclaim").remove()
    assert not engine.remove_image("sha256:" + "0" * 64)


def test_a_lost_state_folder_costs_no_more_than_the_layers_beside_the_dependencies(
    one: Checkout, engine: DockerEngine
) -> None:
    alone(engine)
    for number in range(KEEP + 2):
        one.write(deps=f"lost {number}", source=f"lost {number}")
        one.build()
    before = held(engine)
    done = reclaim.reclaim(engine, one.project, one.recipes)
    # dependencies and program; a RUN below the dependencies may be anybody's. Of the images of one second, which the
    # engine cannot put in order, one may keep what an older one holds
    assert before - held(engine) == done.freed >= 2 * COMPILED
    assert one.ran() == []
