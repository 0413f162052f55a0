"""`clean-cache`: what it asks, what it tells, what it ends with; on an engine in memory."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kiro_invoke import config
from kiro_invoke.builds.sending import CONTEXTS, unhurried
from kiro_invoke.cache.remembered import LAYERS, write_made
from kiro_invoke.commands import opening
from kiro_invoke.commands.clean_cache import Asked, clean_cache, note_cleaned
from kiro_invoke.commands.held import measured_copies, open_checkout
from kiro_invoke.commands.show_cache import show_cache
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine.held_lock import only_one
from kiro_invoke.engine.protocol import CacheRecord, EngineInfo
from kiro_invoke.model.errors import EngineError, ExitCode, KiroError, UsageError
from tests.unit.cache_world import Engine, World, whole


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


def run(world: World, **asked: object) -> Answer:
    return clean_cache(Asked(**asked))(world.surface)  # type: ignore[arg-type]


def ids(rows: list[dict[str, str]]) -> set[str]:
    return {row["id"] for row in rows}


# --- what it does


def test_all_that_is_ours_goes_and_what_is_free_is_read_again(world: World) -> None:
    theirs = world.mount("theirs", "", "their-target", 7, namespace="their-1111111111")
    world.holds((*world.built(), theirs), world.image("app", "shop/app:dev"))
    answer = run(world, yes=True)
    value = whole("clean-cache", answer)
    assert world.left == {"theirs"}
    assert ids(value["images"]) == {"sha256:app"}
    assert ids(value["records"]) == {record.id for record in world.built()}
    assert value["kept"] == []
    assert value["freed_bytes"] == value["frees_bytes"] == 361_000_000
    assert "dry_run" not in value
    lines = world.shown(answer)
    assert "removed 1 image (0 B) of app: shop/app:dev" in lines
    assert "removed 5 layers (201 MB) of app, web" in lines
    assert lines[-1] == "freed 361 MB, as a second reading of the engine tells"
    assert world.asked == []


def test_later_builds_know_what_the_cache_holds_now(world: World) -> None:
    world.holds((*world.built(), world.mount("theirs", "", "x", 7, namespace="t-1")))
    run(world, yes=True)
    made = world.remembered
    assert (made.layers, made.gathered, made.weight, made.mounts) == (frozenset(), 0, 7, 7)


def test_what_is_known_of_another_engine_is_not_forgotten(world: World) -> None:
    world.holds(world.built())
    known = replace(world.remembered, engine="tcp://there:2376")
    write_made(world.state / LAYERS, known)
    run(world, yes=True)
    assert world.remembered == known


def test_an_engine_that_goes_away_afterwards_makes_no_failure_of_it(world: World) -> None:
    class Gone(Engine):
        def cache_records(self) -> tuple[CacheRecord, ...]:
            raise EngineError("the engine refused")

    world.holds(world.built())
    world.engine = Gone()
    note_cleaned(open_checkout(world.surface, ()))
    assert world.remembered.gathered == 5


def test_a_checkout_that_remembers_nothing_is_not_made_to(world: World) -> None:
    world.holds(world.built())
    (world.state / LAYERS).unlink()
    run(world, yes=True)
    assert not (world.state / LAYERS).exists()


def test_a_container_keeps_its_image_and_both_are_named(world: World) -> None:
    world.holds(
        world.built(), world.image("app", "shop/app:dev", in_use=True, containers=("shop-app-1",)),
        world.image("old"),
    )  # fmt: skip
    answer = run(world, what="images", yes=True)
    assert "sha256:app" in world.left
    (kept,) = [row for row in whole("clean-cache", answer)["kept"] if row["id"] == "sha256:app"]
    assert (kept["what"], kept["cause"]) == ("shop/app:dev", "container shop-app-1 stands on it")
    assert "keep shop/app:dev (0 B): container shop-app-1 stands on it" in world.shown(answer)


def test_of_a_service_only_what_is_its_alone_goes(world: World) -> None:
    world.holds(world.built())
    run(world, services=("web",), yes=True)
    assert world.left == {record.id for record in world.built()} - {"ci", "npm"}


def test_older_than_and_max_size_are_heeded(world: World) -> None:
    world.holds(world.built())
    assert whole("clean-cache", run(world, max_size="400MB", yes=True))["records"] == []
    run(world, max_size="330MB", yes=True)
    assert len(world.left) < len(world.built())
    world.holds(world.built(at=4e9))
    assert whole("clean-cache", run(world, older_than="7d", yes=True))["records"] == []
    world.holds(world.built())
    run(world, older_than="7d", yes=True)
    assert world.left == set()


def test_the_engines_clock_tells_what_is_older(world: World) -> None:
    """Another machine's may be wrong by days."""
    now = time.time() - 9 * 86_400
    world.engine.told = EngineInfo(clock=now)
    world.holds(world.built(at=now - 60))
    assert whole("clean-cache", run(world, older_than="7d", yes=True))["records"] == []
    world.engine.told = EngineInfo(clock=now + 8 * 86_400)
    run(world, older_than="7d", yes=True)
    assert world.left == set()


def test_what_measurements_left_goes_too(world: World) -> None:
    (world.state / "benchmark/tree").mkdir(parents=True)
    (world.state / "benchmark/other").mkdir()
    (world.state / "benchmark/state.json").write_text("{}")
    project = config.load(world.root, {})
    copies = measured_copies(project)
    assert [copy.root.name for copy in copies] == ["other", "tree"]
    world.holds(
        [world.mount(copy.root.name, "", "app-target", 1, namespace=copy.checkout) for copy in copies]
    )
    run(world, yes=True)
    assert world.left == set()


def test_a_service_whose_dockerfile_cannot_be_read_is_said_and_what_would_be_its_alone_stays(
    world: World,
) -> None:
    world.holds([*world.built(), world.layer("other", "install", "no step of ours", 1)])
    world.write("web/Dockerfile.fast", "# nothing\n")
    (world.state / LAYERS).unlink()
    run(world, yes=True)
    assert "web cannot be looked through: web/Dockerfile.fast: has no FROM instruction" in world.said
    assert {"ci", "other", "install"} <= world.left


# --- consent


def test_a_person_is_asked_once_and_told_what_goes_and_stays(world: World) -> None:
    world.answer = "yes"
    world.holds(world.built(), world.image("app", "shop/app:dev", "mine:1"))
    run(world)
    assert world.asked == ["Remove this? It frees about 361 MB."]
    assert "remove 5 layers (201 MB) of app, web" in world.said
    assert "keep shop/app:dev, mine:1 (0 B): somebody named it mine:1" in world.said
    assert world.left == {"sha256:app"}


def test_a_person_who_says_no_keeps_everything(world: World) -> None:
    world.answer = "no"
    world.holds(world.built())
    with pytest.raises(KiroError, match=r"^nothing was removed, as you said\. Fix: ") as caught:
        run(world)
    assert caught.value.code == ExitCode.MISSED
    assert len(world.left) == 8


def test_where_there_is_nobody_to_ask_nothing_is_removed(world: World) -> None:
    world.holds(world.built())
    with pytest.raises(KiroError, match=r"nobody to ask\. Fix: run it with --yes") as caught:
        run(world)
    assert caught.value.code == ExitCode.MISSED
    assert len(world.left) == 8


def test_nobody_is_asked_where_there_is_nothing_to_remove(world: World) -> None:
    world.answer = "no"
    answer = run(world)
    assert world.asked == []
    value = whole("clean-cache", answer)
    assert (value["records"], value["freed_bytes"]) == ([], 0)
    assert world.shown(answer) == ["nothing to remove"]


def test_yes_does_not_ask(world: World) -> None:
    world.answer = "no"
    world.holds(world.built())
    run(world, yes=True)
    assert (world.asked, world.left) == ([], set())


def test_a_dry_run_lists_and_removes_nothing(world: World) -> None:
    world.answer = "yes"
    world.holds(world.built(), world.image("app", "shop/app:dev"))
    before = world.remembered
    answer = run(world, dry_run=True, yes=True)
    value = whole("clean-cache", answer)
    assert value["dry_run"] is True
    assert ids(value["records"]) == {record.id for record in world.built()}
    assert (value["frees_bytes"], value["freed_bytes"]) == (361_000_000, 0)
    assert len(world.left) == 9
    assert (world.asked, world.remembered) == ([], before)
    lines = world.shown(answer)
    assert "would remove 1 image (0 B) of app: shop/app:dev" in lines
    assert lines[-1] == "would free about 361 MB"


def test_what_mounts_are_called_reaches_no_terminal_as_it_is(world: World) -> None:
    said = f'cached mount /x from exec x with id "{world.own}/\\u001b[2J"'
    world.holds([CacheRecord("m", "exec.cachemount", said)])
    world.answer = "yes"
    run(world)
    assert "\x1b" not in world.said
    answer = run(world, dry_run=True)
    assert not any("\x1b" in line for line in world.shown(answer))


# --- wrong use


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"what": "everything"}, "--what everything: not known. Fix: use one of build, images, all"),
        ({"what": ""}, "--what : not known"),
        ({"older_than": "7"}, "--older-than 7: not an age"),
        ({"older_than": "-7d"}, "--older-than -7d: not an age"),
        ({"older_than": ""}, "--older-than : not an age"),
        ({"max_size": "5 XB"}, "--max-size 5 XB: not a size"),
        ({"max_size": ""}, "--max-size : not a size"),
    ],
)
def test_wrong_use_is_told_before_anything_is_looked_at(
    world: World, asked: dict[str, str], told: str
) -> None:
    world.holds(world.built())
    with pytest.raises(UsageError) as caught:
        run(world, yes=True, **asked)
    assert str(caught.value).startswith(told)
    assert len(world.left) == 8


def test_an_unknown_service_is_told(world: World) -> None:
    with pytest.raises(UsageError, match='no service "ap"; did you mean "app"') as caught:
        run(world, services=("ap",), yes=True)
    assert caught.value.code == ExitCode.USAGE


def test_a_namespace_that_somebody_chose_makes_no_line_of_its_own(world: World) -> None:
    theirs = world.mount(
        "theirs", "", "app-target", 7, namespace="x\\nfreed 9 GB, as a second reading\\u001b[2J"
    )
    world.holds((*world.built(), theirs))
    lines = world.shown(run(world, dry_run=True))
    assert any("x freed 9 GB" in line for line in lines)
    assert not any(line.startswith("freed") or "\x1b" in line for line in lines)
    shown = world.shown(show_cache(())(world.surface))
    assert not any(line.startswith("freed") or "\x1b" in line for line in shown)


def test_what_was_told_to_stay_or_came_since_a_person_was_asked_stays(world: World) -> None:
    world.holds(
        world.built(), world.image("app", "shop/app:dev", in_use=True), world.image("web", "shop/web:dev")
    )  # fmt: skip
    new = world.mount("new", "", "app-deps", 5)

    def ask(_question: str) -> bool:
        world.engine.local_images = [replace(one, in_use=False) for one in world.engine.local_images]
        world.engine.records = [*world.engine.records, new]
        return True

    answer = clean_cache(Asked())(replace(world.surface, ask=ask))
    assert world.left == {"sha256:app", "new"}
    assert {row["cause"] for row in answer.fields["kept"]} == {"it was not told that it goes"}
    run(world, yes=True)
    assert world.left == set()


# --- builds of this checkout


def test_a_measurement_that_is_under_way_keeps_all(world: World) -> None:
    """What it measures would be another thing without its mounts."""
    world.holds(world.built())
    lock = world.state / "benchmark/lock"
    with only_one(lock), pytest.raises(KiroError, match="a measurement of this checkout is under way"):
        run(world, yes=True)
    assert len(world.left) == 8
    run(world, yes=True)
    assert world.left == set()


def test_a_build_of_this_checkout_is_waited_for(world: World) -> None:
    world.holds(world.built())
    (world.state / CONTEXTS).mkdir()
    checkout = open_checkout(world.surface, ())
    said = threading.Event()
    answers: list[Answer] = []
    waiting = world.surface
    waiting.err.line = lambda *_: said.set()  # type: ignore[method-assign]

    def cleaning() -> None:
        answers.append(clean_cache(Asked(yes=True))(waiting))

    thread = threading.Thread(target=cleaning)
    with unhurried(checkout.recipes, checkout.project, waiting=lambda _: None):
        thread.start()
        assert said.wait(10)
        assert len(world.left) == 8
    thread.join(10)
    assert len(answers) == 1
    assert world.left == set()
