"""Where a build is made, and what it takes from the shared cache: with an engine in memory."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from rich.console import Console

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, plan_images
from kiro_invoke.builds.shipping import StandinRefused
from kiro_invoke.cache import warm
from kiro_invoke.commands import sharing
from kiro_invoke.commands.build_fields import record_fields
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.bases import Base, BaseStatus
from kiro_invoke.engine.protocol import RegistryRefused, RegistrySilent
from kiro_invoke.model.errors import BuildFailed, EngineError, UsageError
from kiro_invoke.model.record import BuildRecord, Step
from kiro_invoke.model.service import Project
from kiro_invoke.model.shared import Builder
from kiro_invoke.screen import Paper
from tests.unit.fakes import FACTS, FakeEngine

CACHE = "cache: {to: 'registry.example/cache:{service}-{branch}'}\n"
RECORD = BuildRecord(1.0, (), (), (), 0)


class World:
    def __init__(self, root: Path, text: str = CACHE) -> None:
        self.root = root
        (root / "app").mkdir()
        (root / "app/Dockerfile.fast").write_text("FROM debian:13-slim\n")
        (root / "kiro.yaml").write_text(f"project: shop\nservices: [{{name: app}}]\n{text}")
        self.engine = FakeEngine(otherwise=RegistryRefused("not found"))
        self.engine.builder_told = "Name:          default\nDriver:        docker-container\n"
        self.environ: dict[str, str] = {"GITHUB_REF_NAME": "main"}
        self.said = io.StringIO()
        self.bases: tuple[Base, ...] = ()

    @property
    def surface(self) -> Surface:
        paper = Paper(lambda: Console(file=self.said, width=300), self.said)
        return Surface(paper, paper, self.environ, self.root, None)

    @property
    def project(self) -> Project:
        return config.load(self.root, self.environ)

    @property
    def prepared(self) -> warm.Prepared:
        recipes = warm.read_recipes(self.project, (Profile.DEV,))
        return warm.prepare(self.project, recipes, lambda found: plan_images(found, "asked"), self.bases)

    def shared(self, *, push: bool = False, always: bool = False) -> sharing.Sharing:
        return sharing.with_cache(
            self.surface, self.project, self.engine, self.prepared, push=push, always=always
        )

    def note(self, *, cached: bool) -> None:
        """A build of it was made: from the cache, or its steps ran."""
        step = Step("app", "stage-0", "RUN x", cached=cached, seconds=1.0)
        record = replace(RECORD, steps=(step,))
        sharing.note(self.project, self.engine, self.shared().prepared, record)

    def places(self, *, push: bool = False, always: bool = False) -> tuple[list[str], list[str]]:
        found = self.shared(push=push, always=always).prepared.around.caching
        return [row for one in found.values() for row in one.sources], [
            row for one in found.values() for row in one.targets
        ]

    def built(self, far: object) -> str:
        """Where it was built, or why it failed."""
        where: list[str] = []

        def attempt(engine: object) -> BuildRecord:
            assert engine is self.engine.far
            if isinstance(far, Exception):
                raise far
            where.append("far")
            return RECORD

        def here(why: str) -> BuildRecord:
            where.append(f"here: {why}")
            return RECORD

        self.engine.far = FakeEngine()
        sharing.built(self.surface, self.project, self.engine, attempt, here)
        return " then ".join(where)


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "shop").mkdir()
    return World(tmp_path / "shop")


def test_the_cache_is_read_until_all_was_built_here_and_when_what_is_locked_changed(world: World) -> None:
    first = ["type=registry,ref=registry.example/cache:app-main-dev-0"]
    assert world.places() == (first, [])
    world.note(cached=True)  # from elsewhere: it is not here yet
    assert world.places() == (first, [])
    world.note(cached=False)
    assert world.places() == ([], [])
    world.note(cached=True)  # it was not asked: what was cached is from here
    assert world.places() == ([], [])
    assert world.places(always=True) == (first, [])
    (world.root / "app/main.rs").write_text("edited")
    assert world.places() == ([], [])
    (world.root / "app/Cargo.lock").write_text("another crate")
    assert world.places() == (first, [])
    world.note(cached=False)
    assert world.places() == ([], [])
    (world.root / "app/Dockerfile.fast").write_text("FROM debian:13-slim\nRUN true\n")
    assert world.places()[0] == first


def test_another_engine_has_nothing_yet(world: World) -> None:
    world.note(cached=False)
    world.engine._facts = replace(FACTS, address="builder team", builder="team")
    assert world.places()[0]


def test_a_push_fills_whatever_is_known(world: World) -> None:
    world.note(cached=False)
    sources, targets = world.places(push=True)
    assert len(sources) == len(targets) == 1
    assert targets[0].startswith("type=registry,ref=registry.example/cache:app-main-dev-0,mode=max")


def test_a_pull_request_fills_nothing(world: World) -> None:
    world.environ |= {"GITHUB_EVENT_NAME": "pull_request", "GITHUB_HEAD_REF": "topic"}
    sources, targets = world.places(push=True)
    assert targets == []
    assert [row.rpartition(":")[2] for row in sources] == ["app-topic-dev-0", "app-main-dev-0"]
    assert "nothing is pushed: this is a build of a pull request" in world.said.getvalue()


def test_nothing_made_from_stand_ins_is_pushed(world: World) -> None:
    world.bases = (Base("debian:13-slim", BaseStatus.STANDIN, "debian:13-slim", "Debian 13"),)
    with pytest.raises(StandinRefused, match="nothing made from stand-ins is pushed: debian:13-slim"):
        world.shared(push=True)
    assert world.places()[0]  # but read


def test_nothing_made_from_a_stand_in_that_a_registry_has_is_pushed(world: World) -> None:
    """A builder takes its base images from there, under whatever name."""
    world.engine._facts = replace(FACTS, builder="team")
    assert world.places(push=True)[1]
    world.engine.at_registry["debian:13-slim"] = {"dev.kiro.standin": "debian:13-slim"}
    with pytest.raises(
        StandinRefused, match="nothing made from stand-ins is pushed: debian:13-slim"
    ) as caught:
        world.shared(push=True)
    assert caught.value.fix == "name the real image under base_images: in kiro.yaml"
    assert world.places()[0]  # but read


def test_a_base_image_that_a_builder_cannot_have_is_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    world = World(tmp_path / "shop", "builder: team\n")
    world.engine.builders["team"] = ""
    why = "app: debian:13-slim: failed to resolve source metadata for docker.io/library/debian:13-slim: no route"
    with pytest.raises(BuildFailed) as caught:
        world.built(BuildFailed(why, file="app/Dockerfile.fast", line=1, fix="see the whole log"))
    assert caught.value.fix == (
        "name an image that the builder team reaches under base_images: in kiro.yaml, or see the whole log"
    )
    with pytest.raises(BuildFailed) as caught:
        world.built(
            BuildFailed(why, file="app/Dockerfile", fix="see the whole log")
        )  # a tool of buildx's own
    assert caught.value.fix == "see the whole log"
    with pytest.raises(BuildFailed) as caught:
        world.built(BuildFailed("app: RUN make failed", line=2, fix="see the whole log"))
    assert caught.value.fix == "see the whole log"


def test_the_engines_own_builder_cannot_push(world: World) -> None:
    world.engine.builder_told = "Name:          default\nDriver:        docker\n\nNodes:\n"
    with pytest.raises(UsageError, match="cannot fill a shared cache"):
        world.shared(push=True)


def test_without_a_cache_there_is_nothing_to_push(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    world = World(tmp_path / "shop", "")
    with pytest.raises(UsageError, match="names no shared cache"):
        world.shared(push=True)
    assert world.places() == ([], [])


def test_a_registry_that_does_not_answer_is_left_out_and_told(world: World) -> None:
    world.engine.otherwise = RegistrySilent("Read timed out.")
    shared = world.shared(push=True)
    assert shared.silent == ("registry.example: no answer within 10 s",)
    assert world.places(push=True) == ([], [])
    world.engine._facts = replace(FACTS, builder="team")  # what that one reaches is not for us to see
    assert world.shared().silent == ()
    assert world.places()[0]


@pytest.mark.parametrize(
    ("state", "far", "where"),
    [
        ("", RECORD, "far"),
        ("no node of it runs", RECORD, "here: the builder team cannot be used: no node of it runs"),
        (
            "",
            EngineError("the engine went away"),
            "here: the builder team cannot be used: the engine went away",
        ),
    ],
)
def test_a_lost_builder_is_told_and_the_work_is_done_here(
    tmp_path: Path, state: str, far: object, where: str
) -> None:
    (tmp_path / "shop").mkdir()
    world = World(tmp_path / "shop", "builder: team\n")
    world.engine.builders["team"] = state
    assert world.built(far) == where
    assert ("built on the engine here instead" in world.said.getvalue()) is where.startswith("here")


def test_a_failed_step_is_not_built_twice(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    world = World(tmp_path / "shop", "builder: team\n")
    world.engine.builders["team"] = ""
    with pytest.raises(BuildFailed, match="compile"):
        world.built(BuildFailed("compile error"))
    assert world.said.getvalue() == ""


def test_a_builder_with_a_driver_is_made_on_demand(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    world = World(
        tmp_path / "shop", "builder: {driver: remote, name: ours, endpoints: ['tcp://a.example:1']}\n"
    )
    assert world.project.builder == Builder("ours", "remote", ("tcp://a.example:1",))
    assert world.built(RECORD) == "far"
    assert world.engine.builders == {"ours": ""}


@pytest.mark.parametrize("command", ["build", "warm-cache"])
def test_its_json_tells_what_was_missed_and_else_nothing(command: str) -> None:
    schema = json.loads((Path(__file__).parents[2] / f"kiro_invoke/schemas/{command}.json").read_text())
    missed = record_fields(replace(RECORD, unread=("a: refused",)), 1.0)
    assert missed["shared_cache"] == {"unread": ["a: refused"], "unpushed": []}
    assert "shared_cache" not in record_fields(RECORD, 1.0)
    jsonschema.Draft202012Validator(schema["properties"]["shared_cache"]).validate(missed["shared_cache"])


def test_what_was_not_read_or_filled_is_told() -> None:
    record = replace(RECORD, unread=("a: refused",), unpushed=("b: full",))
    assert list(sharing.lines(record)) == [
        "the shared cache was not read: a: refused",
        "the shared cache was not filled: b: full",
    ]
