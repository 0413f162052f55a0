"""What an engine's garbage collection drops of its build cache: rules as it tells them, and what follows of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kiro_invoke.cache.collecting import (
    DAY,
    EASY,
    HOUR,
    GcRule,
    Going,
    default_rules,
    rules_set,
    rules_told,
    will_go,
)
from kiro_invoke.commands.gc_rules import gc_rules
from kiro_invoke.engine.protocol import CacheRecord, EngineInfo
from tests.unit.fakes import FakeEngine

DISK = 270_553_174_016
KEPT = 26_000_000_000
NOW = 100 * DAY
#: As buildx 0.13.1 printed it of engine 26.1.5.
HEAD = """\
Name:          default
Driver:        docker
Last Activity: 2026-11-27 10:53:44 +0000 UTC

Nodes:
Name:             default
Endpoint:         default
Status:           running
BuildKit version: v0.0.0+unknown
Platforms:        linux/amd64, linux/386
Labels:
 org.mobyproject.buildkit.worker.moby.host-gateway-ip: <nil>
"""
TOLD = f"""{HEAD}\
GC Policy rule#0:
 All:           false
 Filters:       type==source.local,type==exec.cachemount,type==source.git.checkout
 Keep Duration: 48h0m0s
 Keep Bytes:    3.346GiB
GC Policy rule#1:
 All:           false
 Keep Duration: 1440h0m0s
 Keep Bytes:    24.21GiB
GC Policy rule#2:
 All:        false
 Keep Bytes: 24.21GiB
GC Policy rule#3:
 All:        true
 Keep Bytes: 24.21GiB
"""
#: As newer ones print it, of a fixed filter and with a file behind.
TOLD_NEWER = f"""{HEAD}\
GC Policy rule#0:
 All:            false
 Filters:        type==source.local type==exec.cachemount type==source.git.checkout
 Keep Duration:  48h0m0s
 Max Used Space: 512MB
GC Policy rule#1:
 All:            true
 Reserved Space: 10GiB
 Max Used Space: 100GiB
 Min Free Space: 20GiB
File#buildkitd.toml:
 > [worker]
 >   All: false
"""
POLICY = {
    "builder": {
        "gc": {
            "enabled": True,
            "policy": [
                {"keepStorage": "10GB", "filter": ["type=exec.cachemount", "unused-for=336h"]},
                {"keepStorage": "20GB", "all": True},
            ],
        }
    }
}


def record(id: str, kind: str = "regular", parent: str = "", **fields: object) -> CacheRecord:
    chosen = {"size": 1_000_000_000, "created": 1.0, "used": NOW - HOUR, **fields}
    return CacheRecord(id, kind, id, tuple(filter(None, [parent])), **chosen)  # type: ignore[arg-type]


def mount(id: str, **fields: object) -> CacheRecord:
    return record(id, "exec.cachemount", **fields)  # type: ignore[arg-type]


def ids(*going: Going) -> list[str]:
    return [one.id for one in going]


def test_rules_are_read_as_buildx_prints_them() -> None:
    kept = int(24.21 * (1 << 30))
    assert rules_told(TOLD) == (
        GcRule(unused_seconds=60 * DAY, keep_bytes=kept),
        GcRule(keep_bytes=kept),
        GcRule(keep_bytes=kept, everything=True),
    )  # no record is of all three types at once: the first rule drops nothing


def test_newer_rules_are_read_as_buildx_prints_them() -> None:
    gib = 1 << 30
    assert rules_told(TOLD_NEWER) == (
        GcRule(EASY, 48 * HOUR, most_bytes=512 * (1 << 20)),
        GcRule(everything=True, keep_bytes=10 * gib, most_bytes=100 * gib, free_bytes=20 * gib),
    )


def test_of_several_nodes_the_first_one_is_read() -> None:
    assert rules_told(TOLD + TOLD_NEWER) == rules_told(TOLD)


@pytest.mark.parametrize("text", ["", HEAD, "ERROR: no builder", "GC Policy rule#0:"])
def test_a_builder_that_tells_no_rules_has_none_that_drop_anything_by_size(text: str) -> None:
    assert not any(rule.keep_bytes or rule.kinds for rule in rules_told(text))


def test_a_configured_policy_is_read_as_the_engine_tells_it() -> None:
    gib = 1 << 30
    assert rules_set(json.dumps(POLICY), DISK, "26.1.5") == (
        GcRule(frozenset({"exec.cachemount"}), 336 * HOUR, 10 * gib),
        GcRule(keep_bytes=20 * gib, everything=True),
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"builder": {}}', '{"builder": null}', '"builder"'])
def test_a_configuration_without_gc_says_nothing(text: str) -> None:
    assert rules_set(text, DISK, "26.1.5") is None


@pytest.mark.parametrize(
    ("gc", "engine", "rules"),
    [
        ({"enabled": False}, "28.5.2", 0),
        ({"defaultKeepStorage": "20GB"}, "26.1.5", 0),  # engines before 28.2 want to be told to
        ({"defaultKeepStorage": "20GB"}, "28.5.2", 3),
        ({"enabled": True, "policy": []}, "26.1.5", 0),
        ({"ENABLED": True, "DefaultKeepStorage": "20GB"}, "26.1.5", 3),
    ],
)
def test_gc_runs_where_the_engine_takes_its_configuration_so(
    gc: dict[str, object], engine: str, rules: int
) -> None:
    found = rules_set(json.dumps({"builder": {"gc": gc}}), DISK, engine)
    assert found is not None
    assert len(found) == rules
    assert all(rule.keep_bytes == 20 << 30 for rule in found)


def test_a_rule_without_a_size_takes_the_default_one_of_older_engines() -> None:
    gc = {"enabled": True, "defaultKeepStorage": "20GB", "policy": [{"all": True}]}
    text = json.dumps({"builder": {"gc": gc}})
    assert rules_set(text, DISK, "26.1.5") == (GcRule(keep_bytes=20 << 30, everything=True),)
    assert rules_set(text, DISK, "28.5.2") == (GcRule(everything=True),)


def test_enabled_without_sizes_goes_by_the_disk() -> None:
    text = json.dumps({"builder": {"gc": {"enabled": True}}})
    rules = rules_set(text, DISK, "26.1.5")
    assert rules is not None
    assert [rule.keep_bytes for rule in rules] == [KEPT, KEPT, KEPT]  # what buildx told above, rounded


def test_engines_before_28_2_collect_nothing_by_default() -> None:
    assert default_rules(DISK, "26.1.5") == default_rules(DISK, "28.1.1") == ()


def test_newer_engines_collect_by_the_size_of_their_disk() -> None:
    bounds = [(rule.keep_bytes, rule.most_bytes, rule.free_bytes) for rule in default_rules(DISK, "28.5.2")]
    assert bounds == [(26_000_000_000, 202_000_000_000, 51_000_000_000)] * 3
    odd = default_rules(DISK, "28.3.0")[1]  # takes 80 and 20 percent for an 80th and a 20th
    assert (odd.keep_bytes, odd.most_bytes, odd.free_bytes) == (26_000_000_000, 4_000_000_000, 13_000_000_000)


def test_mounts_are_dropped_first_by_engines_whose_first_rule_matches() -> None:
    first = default_rules(DISK, "29.6.0")[0]
    assert first == GcRule(EASY, 48 * HOUR, most_bytes=3_592_570_859)
    assert default_rules(1 << 30, "29.6.0")[0].most_bytes == 512_000_000


def test_a_cache_below_its_limit_keeps_all() -> None:
    assert will_go([record("a"), mount("m")], [GcRule(keep_bytes=2_000_000_001)], NOW) == ()


def test_mounts_go_two_days_after_their_last_use_while_there_is_too_much() -> None:
    records = [
        record("layer", size=4),
        mount("old", used=NOW - 50 * HOUR),
        mount("new", used=NOW - 40 * HOUR),
    ]
    rules = [GcRule(EASY, 48 * HOUR, most_bytes=512_000_000)]
    assert will_go(records, rules, NOW) == (
        Going("old", NOW, CAUSE),
        Going("new", NOW + 8 * HOUR, CAUSE),
    )


CAUSE = (
    "the engine drops mounts, contexts and checkouts not used for 48 h while the cache holds more than 0.5 GB"
)


def test_it_stops_as_soon_as_there_is_room() -> None:
    records = [mount("first", used=1.0), mount("second", used=2.0), mount("third", used=3.0)]
    going = will_go(records, [GcRule(EASY, 48 * HOUR, keep_bytes=1_500_000_000)], NOW)
    assert ids(*going) == ["first", "second"]


def test_a_record_goes_after_what_was_made_on_it() -> None:
    records = [record("base", used=1.0), record("child", parent="base", used=NOW - 1)]
    assert ids(*will_go(records, [GcRule(keep_bytes=1)], NOW)) == ["child", "base"]


def test_what_was_never_used_again_goes_at_once() -> None:
    going = will_go(
        [record("fresh", created=NOW, used=0.0)], [GcRule(unused_seconds=60 * DAY, keep_bytes=1)], NOW
    )
    assert going[0].at == NOW


@pytest.mark.parametrize("fields", [{"in_use": True}, {"shared": True}, {"kind": "internal"}])
def test_what_is_held_stays(fields: dict[str, object]) -> None:
    kept = record("kept", **fields)  # type: ignore[arg-type]
    assert will_go([kept, record("other")], [GcRule(keep_bytes=1)], NOW)[-1].id == "other"
    assert "kept" not in ids(*will_go([kept, record("other")], [GcRule(keep_bytes=1)], NOW))


def test_a_rule_for_everything_takes_what_images_hold() -> None:
    going = will_go([record("held", shared=True), record("a", used=1.0)], [GcRule(everything=True)], NOW)
    assert ids(*going) == ["a", "held"]


def test_what_images_hold_does_not_count() -> None:
    records = [record("held", shared=True, size=10**12), record("a")]
    assert will_go(records, [GcRule(keep_bytes=1_000_000_001)], NOW) == ()


def test_a_filter_that_records_cannot_answer_predicts_nothing() -> None:
    text = json.dumps({"builder": {"gc": {"enabled": True, "policy": [{"filter": ["id=abc"]}]}}})
    rules = rules_set(text, DISK, "26.1.5")
    assert rules is not None
    assert rules[0].condition == "id=abc"
    assert will_go([record("a")], rules, NOW) == ()


def test_a_full_disk_makes_newer_engines_drop_down_to_what_is_reserved() -> None:
    rule = GcRule(keep_bytes=1_500_000_000, most_bytes=10**12, free_bytes=50 * 10**9)
    records = [record("a", used=1.0), record("b", used=2.0), record("c", used=3.0)]
    assert will_go(records, [rule], NOW, free=100 * 10**9) == ()
    assert ids(*will_go(records, [rule], NOW, free=0)) == ["a", "b"]
    assert ids(*will_go(records, [rule], NOW, free=49 * 10**9)) == ["a", "b"]


def test_a_disk_with_room_drops_nothing_where_only_free_space_is_asked() -> None:
    assert will_go([record("a")], [GcRule(free_bytes=10)], NOW, free=11) == ()
    assert will_go([record("a")], [GcRule(free_bytes=10)], NOW) == ()


def test_buildx_is_believed_first(tmp_path: Path) -> None:
    engine = FakeEngine()
    engine.builder_told = HEAD
    found = gc_rules(engine, EngineInfo(root=str(tmp_path), is_here=True))
    assert (found.rules, found.origin) == ((), "docker buildx inspect")
    assert found.disk_bytes


def test_rules_that_the_engine_does_not_know_yet_are_told(tmp_path: Path) -> None:
    """An engine reads its configuration when it starts."""
    engine, info, file = FakeEngine(), EngineInfo(root=str(tmp_path), is_here=True), tmp_path / "daemon.json"
    engine.builder_told = HEAD
    assert gc_rules(engine, info, daemon_json=file).waiting == ""
    file.write_text(json.dumps(POLICY))
    found = gc_rules(engine, info, daemon_json=file)
    assert (found.rules, found.waiting) == ((), str(file))


def test_without_buildx_the_engine_s_configuration_is_read_then_its_defaults(tmp_path: Path) -> None:
    engine, info, file = FakeEngine(), EngineInfo(root=str(tmp_path), is_here=True), tmp_path / "daemon.json"
    assert gc_rules(engine, info, daemon_json=file).origin == "the defaults of engine 26.1.5"
    file.write_text(json.dumps(POLICY))
    found = gc_rules(engine, info, daemon_json=file)
    assert found.origin == str(file)
    assert found.rules
    assert len(found.rules) == 2


def test_of_an_engine_elsewhere_that_buildx_does_not_know_nothing_is_known() -> None:
    found = gc_rules(FakeEngine(), EngineInfo(root="/var/lib/docker"))
    assert found.rules is None
    assert "not this one" in found.origin
