"""`show-cache`: what the engine holds of a checkout, by service and kind; on an engine in memory."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from kiro_invoke.commands import opening
from kiro_invoke.commands.cache_lines import ago, table
from kiro_invoke.commands.show_cache import show_cache
from kiro_invoke.commands.surface import Answer
from kiro_invoke.engine.protocol import EngineInfo
from kiro_invoke.metrics.entry import Entry
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.errors import UsageError
from tests.unit.cache_world import World, whole


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(opening, "open_engine", lambda _surface, **_: made.engine)
    return made


def run(world: World, *services: str) -> Answer:
    return show_cache(services)(world.surface)


def test_what_is_held_is_told_by_service_and_kind(world: World) -> None:
    world.holds(world.built())
    answer = run(world)
    value = whole("show-cache", answer)
    rows = {(row["service"], row["kind"]): (row["items"], row["bytes"]) for row in value["holdings"]}
    assert rows == {
        ("app", "target"): (1, 40_000_000),
        ("app", "dependencies"): (1, 50_000_000),
        ("app", "layers"): (3, 41_000_000),
        ("web", "npm"): (1, 70_000_000),
        ("web", "layers"): (1, 60_000_000),
        (None, "layers"): (1, 100_000_000),
    }
    assert value["bytes"] == value["cache_bytes"] == 361_000_000
    assert value["unsure"] == []
    assert {item["id"] for item in value["items"]} == {record.id for record in world.built()}
    lines = world.shown(answer)
    assert lines[0] == "shop on Docker Engine 26.1.5 at unix:///var/run/docker.sock"
    assert "ours alone    361 MB, each byte once; the rest, others hold as well" in lines
    assert any(line.startswith("app      target") and "40.0 MB" in line for line in lines)


def test_of_a_service_its_rows_alone_are_shown(world: World) -> None:
    world.holds(world.built())
    value = whole("show-cache", run(world, "web"))
    assert {row["service"] for row in value["holdings"]} == {"web"}
    assert value["bytes"] == 361_000_000
    with pytest.raises(UsageError, match='no service "wep"'):
        run(world, "wep")


def test_what_others_hold_and_what_may_be_ours_is_told_apart(world: World) -> None:
    theirs = world.mount("theirs", "", "their-target", 7_000_000, namespace="their-1111111111")
    nobodys = world.mount("nobodys", "", "app-target", 2_000_000, namespace="")
    world.holds((theirs, nobodys))
    answer = run(world)
    value = whole("show-cache", answer)
    assert (value["bytes"], value["others_bytes"], value["cache_bytes"]) == (0, 7_000_000, 9_000_000)
    why = "a build without kiro left it: it may be anybody's"
    assert value["unsure"] == [{"why": why, "items": 1, "bytes": 2_000_000}]
    lines = world.shown(answer)
    assert f"perhaps ours  2.0 MB in 1: {why}; kept" in lines
    assert any("docker buildx prune --filter 'id=^(" in line for line in lines)
    assert "others'       7.0 MB of the engine's build cache; never removed" in lines


def test_what_an_image_and_the_cache_hold_both_counts_once_and_as_shared(world: World) -> None:
    records = [*world.built()]
    records[5] = world.layer("build", "source", "build", 10_000_000, shared=True)
    world.holds(records, world.image("app", "shop/app:dev"))
    world.engine.layers["sha256:app"] = (("base", 90_000_000), ("build", 10_000_000))
    value = whole("show-cache", run(world))
    rows = {(row["service"], row["kind"]): row for row in value["holdings"]}
    assert rows["app", "layers"]["shared_bytes"] == 10_000_000
    assert rows["app", "images"]["bytes"] == 100_000_000
    assert value["bytes"] == 351_000_000 + 100_000_000


def test_what_was_made_within_a_week_is_new(world: World) -> None:
    now = time.time()
    fresh = world.mount("target", "", "app-target", 5, at=now - 60)
    old = world.mount("deps", "", "app-deps", 6, at=now - 8 * 86_400)
    world.holds([fresh, old])
    value = whole("show-cache", run(world))
    assert {row["kind"]: row["new_bytes"] for row in value["holdings"]} == {"target": 5, "dependencies": 0}


def test_growth_is_told_from_the_history_of_builds(world: World) -> None:
    now = time.time()
    Store(world.state, print).add(
        [
            Entry(now - days * 86_400, 1.0, "build", ok=True, cache_layers=layers, cache_mounts=mounts)
            for days, layers, mounts in ((9, 0, 0), (5, 1_000_000_000, 5), (1, 3_000_000_000, 2))
        ]
    )
    answer = run(world)
    growth = whole("show-cache", answer)["growth"]
    assert (growth["layers_bytes"], growth["mounts_bytes"]) == (2_000_000_000, -3)
    assert any(
        line.startswith("growth        of the engine's whole cache since 20") for line in world.shown(answer)
    )
    assert whole("show-cache", answer)["state"]["metrics_bytes"] > 0


def test_nothing_is_known_of_an_engine_elsewhere(world: World) -> None:
    answer = run(world)
    value = whole("show-cache", answer)
    assert value["disk"] == {"bytes": None, "free_bytes": None}
    assert value["collection"]["collects"] is None
    assert value["growth"]["layers_bytes"] is None
    assert value["registry_cache"] is None
    lines = world.shown(answer)
    assert any(line.startswith("collection    not known") for line in lines)
    assert any(line.startswith("growth        not known") for line in lines)


def test_what_is_elsewhere_is_told_but_not_looked_at(world: World) -> None:
    file = world.root / "kiro.yaml"
    text = file.read_text() if file.exists() else ""
    file.write_text(f"{text}builder: team\ncache: {{to: 'registry.example/cache:{{service}}'}}\n")
    answer = run(world)
    place = "type=registry,ref=registry.example/cache:{service}"
    assert whole("show-cache", answer)["registry_cache"] == {"to": place, "from": [place]}
    lines = world.shown(answer)
    assert "builder       team: what it holds is its own (docker buildx du --builder team)" in lines
    assert f"shared cache  filled at {place} by warm-cache --push" in lines
    assert f"shared cache  read from {place}" in lines
    assert not any(line.startswith("registry ") for line in lines)


def test_what_the_engine_will_drop_is_told_with_when(world: World) -> None:
    """Of ours alone; what it makes of others' things is theirs."""
    world.engine.told = EngineInfo(root=str(world.root), is_here=True)
    world.engine.builder_told = (
        "Name: default\nNodes:\nName: default\nStatus: running\n"
        "GC Policy rule#0:\n All: false\n Keep Duration: 240h0m0s\n Keep Bytes: 1B\n"
    )
    now = time.time()
    theirs = world.mount("theirs", "", "t", 7, at=now, namespace="their-1111111111")
    world.holds([world.layer("install", "", "install", 9_000_000, at=now - 3_600), theirs])
    answer = run(world)
    value = whole("show-cache", answer)
    (going,) = [one for one in value["collection"]["going"] if one["id"] == "install"]
    assert value["collection"]["collects"] is True
    assert going["at"] > value["growth"]["since"]
    assert "theirs" not in {one["id"] for one in value["collection"]["going"]}
    assert any(line.startswith("collection    9.0 MB in 1 from ") for line in world.shown(answer))


def test_a_state_folder_in_motion_is_weighed(world: World) -> None:
    (world.state / "contexts").mkdir()
    (world.state / "contexts/file").write_bytes(b"x" * 10_000)
    (world.state / "link").symlink_to("/")
    value = whole("show-cache", run(world))
    assert 10_000 <= value["state"]["bytes"] < 1_000_000
    assert value["state"]["metrics_bytes"] == 0


def test_names_of_others_reach_no_terminal_as_they_are(world: World) -> None:
    world.holds((), world.image("x", "shop/app:dev\x1b[2J"))
    assert not any("\x1b" in line for line in world.shown(run(world)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7_300, "2 hours ago"),
        (200_000, "2 days ago"),
    ],
)
def test_how_long_ago_is_told_in_whole_units(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_columns_begin_or_end_where_their_heads_do() -> None:
    assert table([("name", "size"), ("a", "100 MB")], left={0}) == ["name    size", "a     100 MB"]
