"""Base images: here, pulled, or stood in for, whatever the registries do."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from kiro_invoke.engine.bases import (
    SILENCE_SECONDS,
    Base,
    BaseStatus,
    Say,
    Silence,
    registry_of,
    resolve,
)
from kiro_invoke.engine.protocol import ImageFacts
from kiro_invoke.engine.standins import LABEL, LABEL_HOLDS, standin_name
from kiro_invoke.model.errors import BuildFailed, ExitCode
from tests.unit.fakes import REFUSED, SILENT, FakeEngine

RUST, NODE, APP = "rust:1.95", "node:24", "ghcr.io/acme/app:2"
OFFICIAL = ImageFacts("sha256:official", {}, 1)
STANDIN = ImageFacts("sha256:standin", {LABEL: RUST, LABEL_HOLDS: "Rust 1.85"}, 1)


class World:
    """An engine, a memory of silence with a clock, a maker of stand-ins; all record what is done."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000.0
        self.file = folder / "state" / "registry.json"
        self.silence = Silence(self.file, lambda: self.now)
        self.engine = FakeEngine()
        self.made: list[str] = []
        self.said: list[str] = []

    def make(self, refs: Sequence[str], say: Say) -> None:
        for ref in refs:
            self.made.append(ref)
            self.engine.images[standin_name(ref)] = ImageFacts(f"sha256:{ref}", dict(STANDIN.labels), 1)

    def resolve(self, *refs: str, pull: bool = False) -> tuple[Base, ...]:
        self.engine.probed.clear()
        self.engine.pulled.clear()
        self.made.clear()
        self.said.clear()
        return resolve(
            refs,
            self.engine,
            silence=self.silence,
            make_standins=self.make,
            pull=pull,
            say=self.said.append,
        )

    def failure(self, *refs: str, pull: bool = False) -> BuildFailed:
        with pytest.raises(BuildFailed) as caught:
            self.resolve(*refs, pull=pull)
        assert caught.value.code == ExitCode.BUILD_FAILED
        assert caught.value.fix
        return caught.value


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def foreign(engine: FakeEngine) -> FakeEngine:
    return FakeEngine(engine.images, engine.registry, otherwise=engine.otherwise, ours=False)


# -- without --pull -----------------------------------------------------------------------------------


def test_what_is_here_is_used_and_nobody_is_asked(world: World) -> None:
    world.engine.images[RUST] = OFFICIAL
    assert world.resolve(RUST) == (Base(RUST, BaseStatus.PRESENT, RUST),)
    assert world.engine.probed == []
    assert world.said == []


def test_a_standin_that_is_here_is_used_and_told(world: World) -> None:
    world.engine.images[RUST] = STANDIN
    assert world.resolve(RUST) == (Base(RUST, BaseStatus.STANDIN, RUST, "Rust 1.85"),)
    assert world.engine.probed == []


def test_what_is_missing_is_pulled(world: World) -> None:
    world.engine.registry[RUST] = OFFICIAL
    assert world.resolve(RUST) == (Base(RUST, BaseStatus.PULLED, RUST),)
    assert world.said == [f"{RUST}: pulling", f"{RUST}: 1 of 1 layers"]
    assert world.made == []


def test_nothing_wanted_nothing_done(world: World) -> None:
    assert world.resolve() == ()


def test_a_silent_registry_on_our_engine_gives_the_official_name_to_a_standin(world: World) -> None:
    (base,) = world.resolve(RUST)
    assert base == Base(RUST, BaseStatus.STANDIN, RUST, "Rust 1.85")
    assert base.context is None
    assert world.made == [RUST]
    assert world.engine.images[RUST] == world.engine.images[standin_name(RUST)]
    assert world.said == [f"{RUST}: no registry answers (no route to host)"]


def test_a_silent_registry_on_a_foreign_engine_leaves_the_official_name_alone(world: World) -> None:
    world.engine = foreign(world.engine)
    (base,) = world.resolve(RUST)
    assert base == Base(RUST, BaseStatus.STANDIN, standin_name(RUST), "Rust 1.85")
    assert base.context == (RUST, f"docker-image://{standin_name(RUST)}")
    assert RUST not in world.engine.images


def test_a_standin_that_was_made_before_is_not_made_again(world: World) -> None:
    world.engine = foreign(world.engine)
    first = world.resolve(RUST)
    assert world.resolve(RUST) == first
    assert world.made == []


def test_a_standin_on_a_foreign_engine_is_kept_when_the_hour_is_over(world: World) -> None:
    world.engine = foreign(world.engine)
    first = world.resolve(RUST)
    world.now += SILENCE_SECONDS + 1
    world.engine.registry[RUST] = OFFICIAL
    assert world.resolve(RUST) == first
    assert world.engine.probed == []
    assert world.said == []


def test_pull_on_a_foreign_engine_announces_that_it_replaces_a_standin(world: World) -> None:
    world.engine = foreign(world.engine)
    world.resolve(RUST)
    world.engine.registry[RUST] = OFFICIAL
    assert world.resolve(RUST, pull=True) == (Base(RUST, BaseStatus.PULLED, RUST),)
    assert "the stand-in is replaced" in world.said[0]
    assert world.resolve(RUST) == (Base(RUST, BaseStatus.PRESENT, RUST),)


def test_a_silent_registry_and_no_recipe(world: World) -> None:
    failure = world.failure(RUST, APP)
    assert APP in failure.message
    assert "base_images" in str(failure.fix)
    assert world.made == [], "nothing is made for a build that cannot be"


def test_a_registry_that_refuses_is_not_stood_in_for(world: World) -> None:
    """A misspelt tag must not silently become something else."""
    world.engine.registry[RUST] = REFUSED
    failure = world.failure(RUST)
    assert "manifest unknown" in failure.message
    assert "docker login" in str(failure.fix)
    assert world.made == []
    assert not world.silence.holds_for(RUST)


def test_the_answer_keeps_the_order_and_every_name(world: World) -> None:
    world.engine.images[NODE] = OFFICIAL
    world.engine.registry[APP] = OFFICIAL
    bases = world.resolve(APP, NODE, RUST, APP)
    assert [(base.ref, base.status) for base in bases] == [
        (APP, BaseStatus.PULLED),
        (NODE, BaseStatus.PRESENT),
        (RUST, BaseStatus.STANDIN),
        (APP, BaseStatus.PULLED),
    ]


def test_a_name_given_twice_is_asked_for_once(world: World) -> None:
    world.engine.registry[APP] = OFFICIAL
    world.resolve(APP, RUST, APP, RUST)
    assert sorted(world.engine.probed) == [APP, RUST]
    assert world.engine.pulled == [APP]
    assert world.made == [RUST]


def test_two_names_of_one_image_share_a_standin(world: World) -> None:
    long = f"docker.io/library/{RUST}"
    assert [base.image for base in world.resolve(RUST, long)] == [RUST, long]
    assert world.made == [RUST]
    assert {RUST, long} <= {*world.engine.images}


def test_several_are_pulled_at_the_same_time(world: World) -> None:
    refs = [f"ghcr.io/acme/app:{number}" for number in range(4)]
    together = threading.Barrier(len(refs), timeout=5)
    world.engine.registry = dict.fromkeys(refs, OFFICIAL)
    world.engine.while_pulling = lambda _ref: (together.wait(), None)[1]
    assert {base.status for base in world.resolve(*refs)} == {BaseStatus.PULLED}


def test_an_unexpected_error_is_not_swallowed(world: World) -> None:
    world.engine.registry[RUST] = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        world.resolve(RUST)


# -- with --pull --------------------------------------------------------------------------------------


def test_pull_asks_for_what_is_here(world: World) -> None:
    world.engine.images[RUST] = OFFICIAL
    newer = world.engine.registry[RUST] = ImageFacts("sha256:newer", {}, 1)
    assert world.resolve(RUST, pull=True) == (Base(RUST, BaseStatus.PULLED, RUST),)
    assert world.engine.images[RUST] == newer
    assert not any("stand-in" in line for line in world.said)


def test_pull_replaces_a_standin_and_announces_it(world: World) -> None:
    world.engine.images[RUST] = STANDIN
    world.engine.registry[RUST] = OFFICIAL
    assert world.resolve(RUST, pull=True) == (Base(RUST, BaseStatus.PULLED, RUST),)
    assert world.engine.images[RUST] == OFFICIAL
    assert "the stand-in is replaced" in world.said[0]
    assert world.said[0].startswith(f"{RUST}: ")


@pytest.mark.parametrize("trouble", [SILENT, REFUSED])
@pytest.mark.parametrize("here", [OFFICIAL, STANDIN])
def test_pull_that_fails_keeps_what_is_here(world: World, here: ImageFacts, trouble: Exception) -> None:
    world.engine.images[RUST] = here
    world.engine.registry[RUST] = trouble
    (base,) = world.resolve(RUST, pull=True)
    assert base.status == (BaseStatus.PRESENT if here is OFFICIAL else BaseStatus.STANDIN)
    assert world.engine.images == {RUST: here}
    assert world.made == []
    assert str(trouble) in world.said[0]


def test_pull_asks_a_registry_that_was_silent_a_moment_ago(world: World) -> None:
    world.resolve(RUST)
    world.engine.registry[RUST] = OFFICIAL
    assert world.resolve(RUST)[0].status == BaseStatus.STANDIN
    assert world.resolve(RUST, pull=True)[0].status == BaseStatus.PULLED
    assert not world.silence.holds_for(RUST)


# -- silence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("later", "asked"),
    [
        (0, False),
        (SILENCE_SECONDS - 1, False),
        (SILENCE_SECONDS, True),
        (SILENCE_SECONDS + 1, True),
        (-1, True),
        (-86_400, True),
    ],
    ids=["at once", "within the hour", "after it", "later", "clock stepped back", "clock jumped back"],
)
def test_a_silent_registry_is_asked_again_after_an_hour(world: World, later: float, asked: bool) -> None:
    world.engine = foreign(world.engine)
    world.resolve(RUST)
    assert world.engine.probed == [RUST]
    world.now += later
    world.resolve(NODE)
    assert world.engine.probed == ([NODE] if asked else [])


def test_silence_of_one_registry_says_nothing_about_another(world: World) -> None:
    world.engine.registry[APP] = OFFICIAL
    world.resolve(RUST)
    assert world.resolve(APP)[0].status == BaseStatus.PULLED
    assert world.silence.holds_for(NODE)
    assert not world.silence.holds_for(APP)


def test_silences_of_several_registries_are_all_remembered(world: World) -> None:
    hosts = [f"r{number}.example" for number in range(12)]
    begin = threading.Barrier(len(hosts), timeout=5)

    def remember(host: str) -> None:
        begin.wait()
        world.silence.remember(f"{host}/x")

    threads = [threading.Thread(target=remember, args=(host,)) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*json.loads(world.file.read_text())} == {*hosts}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '{"docker.io": null}', '{"docker.io": [1]}', '{"docker.io": "x"}',
     '{"docker.io": NaN}', '{"docker.io": 1e999}', "\udcff"],
)  # fmt: skip
def test_a_corrupt_memory_is_no_memory(world: World, text: str) -> None:
    world.file.parent.mkdir()
    world.file.write_bytes(text.encode(errors="surrogateescape"))
    world.resolve(RUST)
    assert world.engine.probed == [RUST]
    assert world.silence.holds_for(RUST)


def test_forgetting_what_was_never_silent_writes_nothing(world: World) -> None:
    world.silence.forget(RUST)
    assert not world.file.exists()


@pytest.mark.parametrize(
    ("ref", "registry"),
    [
        ("rust", "docker.io"),
        ("rust:1.95", "docker.io"),
        ("acme/app", "docker.io"),
        ("docker.io/library/rust", "docker.io"),
        ("ghcr.io/acme/app:2", "ghcr.io"),
        ("localhost/app", "localhost"),
        ("localhost:5000/app", "localhost:5000"),
        ("registry:5000/app@sha256:00", "registry:5000"),
    ],
)
def test_registry_of(ref: str, registry: str) -> None:
    assert registry_of(ref) == registry


def test_nothing_stands_in_for_what_a_digest_names(world: World) -> None:
    """Although a stand-in of that very tag is here."""
    world.engine.images[RUST] = STANDIN
    pinned = f"{RUST}@sha256:{'a' * 64}"
    assert "no stand-in can be what a digest names" in world.failure(pinned).message
    assert world.made == []


def test_what_a_digest_names_is_not_asked_for_again_even_with_pull(world: World) -> None:
    pinned = f"{RUST}@sha256:{'a' * 64}"
    world.engine.images[pinned] = OFFICIAL
    assert world.resolve(pinned, pull=True) == (Base(pinned, BaseStatus.PRESENT, pinned),)
    assert world.engine.probed == world.engine.pulled == []
