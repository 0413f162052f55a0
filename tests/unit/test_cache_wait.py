"""A build that waits for the shared cache: for how long, and what it does then."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from kiro_invoke.builds.bake import Surroundings
from kiro_invoke.builds.cache_patience import Answers, CacheSilent, answering
from kiro_invoke.builds.executor import is_lost
from kiro_invoke.builds.progress import CacheWait
from kiro_invoke.builds.shared_cache import Places
from kiro_invoke.cache import warm
from kiro_invoke.commands import one_build
from kiro_invoke.commands.recording import Recorder
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.retrying import Building
from kiro_invoke.engine.brake import Brake
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.record import BuildRecord
from tests.unit.build_fakes import event, fed, ran, vertex
from tests.unit.fakes import FACTS
from tests.unit.test_sharing import World

START = "2026-01-02T03:04:05Z"
READING = vertex("importing cache manifest from registry.example/cache:x", "sha256:r", started=START)
WRITING = vertex("exporting cache to registry", "sha256:w", started=START)
STEP = vertex("[a 1/1] RUN x", "sha256:s", started=START)
SIGN = event(statuses=[{"id": "writing layer sha256:1", "vertex": "sha256:w"}])
RECORD = BuildRecord(1.0, (), (), (), 0)


def wait(lines: list[str]) -> CacheWait | None:
    return fed(lines, {"web": "web"})[0].cache_wait


def test_a_build_waits_for_the_cache_where_no_step_runs() -> None:
    assert wait([]) is None
    assert wait(READING) == CacheWait(writing=False, signs=0)
    assert wait([*READING, *STEP]) is None
    assert wait([*READING, *STEP, *ran("[a 1/1] RUN x", "sha256:s")]) == CacheWait(writing=False, signs=0)
    assert wait(WRITING) == CacheWait(writing=True, signs=0)
    assert wait([*WRITING, *SIGN, *SIGN]) == CacheWait(writing=True, signs=2)
    assert (
        wait([*READING, *ran("importing cache manifest from registry.example/cache:x", "sha256:r")]) is None
    )


def looks(answers: Answers, wait: CacheWait | None, seconds: int) -> bool:
    return any(tuple(answers.look(wait, 1.0) for _ in range(seconds)))


def test_what_is_read_is_waited_for_no_longer_than_it_is_said() -> None:
    answers = Answers(5.0)
    reading = CacheWait(writing=False, signs=0)
    assert not looks(answers, reading, 6)
    assert not looks(answers, None, 1)  # a step ran meanwhile
    assert not looks(answers, reading, 6)
    assert looks(answers, reading, 1)
    assert str(answers.gave_up) == "the shared cache did not answer for 5 s"


def test_a_large_layer_may_take_its_time_to_be_written_and_each_sign_begins_anew() -> None:
    answers = Answers(5.0)
    for signs in range(3):
        assert not looks(answers, CacheWait(writing=True, signs=signs), 150)
    assert looks(answers, CacheWait(writing=True, signs=2), 2)
    assert answers.gave_up is not None
    assert answers.gave_up.writing


def test_the_brake_is_pulled_where_nothing_answers() -> None:
    progress, _ = fed(READING, {"web": "web"})
    brake = Brake()
    around = Surroundings("shop", caching={"web": Places()}, cache_patience=0.1)
    with answering(progress, brake, around) as answers:
        for _ in range(200):
            if brake.pulled:
                break
            time.sleep(0.05)
    assert brake.pulled
    assert answers.gave_up is not None


@pytest.mark.parametrize(
    ("line", "lost"),
    [
        (
            "ERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
            True,
        ),
        ('ERROR: no builder "team" found', True),
        ("ERROR: context deadline exceeded", True),
        (
            'ERROR: failed to solve: process "/bin/sh -c call || echo code = Unavailable" did not complete '
            "successfully: exit code: 1",
            False,
        ),
        ("0.213 ERROR: rpc error: code = Unavailable", False),
        ("ERROR: failed to solve: debian:13-slim: not found", False),
    ],
)
def test_a_lost_builder_is_told_from_a_step_that_failed(line: str, lost: bool) -> None:
    assert is_lost(["------", line]) is lost


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "shop").mkdir()
    return World(tmp_path / "shop")


def built(world: World, silence: CacheSilent, *, push: bool) -> tuple[BuildRecord, list[str]]:
    """A build whose first attempt the shared cache does not answer: its record, and the attempts."""
    attempts: list[str] = []

    def attempt(prepared: warm.Prepared) -> BuildRecord:
        attempts.append("with it" if prepared.around.caching else "without")
        if prepared.around.caching:
            raise silence
        return RECORD

    made = Building(world.surface, world.project, world.engine, cast("Recorder", None), attempt)
    request = Request((), (), lambda _recipes: BuildPlan(()), push=push)
    return one_build._sharing(world.surface, made, world.prepared, attempt, request), attempts


def test_a_cache_that_does_not_answer_costs_no_build(world: World) -> None:
    record, attempts = built(world, CacheSilent(20), push=False)
    assert attempts == ["with it", "without"]
    assert record.unread == ("the shared cache did not answer for 20 s",)
    assert record.unpushed == ()
    assert "the shared cache did not answer for 20 s: building once more without it" in world.said.getvalue()


def test_what_could_not_be_filled_is_missed(world: World) -> None:
    record, attempts = built(world, CacheSilent(600, writing=True), push=True)
    assert attempts == ["with it", "without"]
    assert (record.unread, record.unpushed) == ((), ("the shared cache did not answer for 600 s",))
    assert built(world, CacheSilent(20), push=True)[0].unpushed


def test_a_builder_that_waits_for_the_cache_is_given_up(world: World) -> None:
    world.engine._facts = replace(FACTS, builder="team")
    with pytest.raises(EngineError, match="the shared cache did not answer for 20 s"):
        built(world, CacheSilent(20), push=False)
    assert built(world, CacheSilent(600, writing=True), push=True)[1] == ["with it", "without"]
