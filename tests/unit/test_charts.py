"""Figures for Plotly: what they hold, how much of it, and that nothing in them is markup that somebody else wrote."""

from __future__ import annotations

import json
from datetime import UTC

from hypothesis import given
from hypothesis import strategies as st

from kiro_invoke.metrics import charts
from kiro_invoke.metrics.details import Caused, HitsOver, Waterfall
from kiro_invoke.metrics.entry import CacheSize, Group, Timed
from kiro_invoke.metrics.statistics import Bar
from kiro_invoke.model.record import Step

SOURCE = Group("web", "dev", "image", "SOURCE")
EVIL = "<img src=x onerror=alert(1)>"
SAFE = "&lt;img src=x onerror=alert(1)&gt;"


def timed(count: int) -> list[Timed]:
    return [Timed(float(number), 1.0 + number % 7, number) for number in range(count)]


# --- labels


def test_labels_are_text() -> None:
    assert charts.label(f"{EVIL} & co") == f"{SAFE} &amp; co"
    assert charts.label("a\x1b[2J\n\u202eb\0") == "a [2J b"


def test_long_labels_are_broken_and_cut() -> None:
    lines = charts.label("<" * 1000).split("<br>")
    assert [line.count("&lt;") for line in lines] == [60, 60, 39]
    assert lines[-1].endswith("…")


@given(st.text())
def test_no_label_holds_a_tag_but_line_breaks(text: str) -> None:
    assert "<" not in charts.label(text).replace("<br>", "")


# --- thinning


def test_few_points_are_all_kept() -> None:
    assert charts.thinned(timed(10), 10) == timed(10)


def test_of_many_points_the_slowest_stay_and_none_is_made_up() -> None:
    some = timed(10_000)
    some[1234] = some[1234]._replace(seconds=99.0)
    kept = charts.thinned(some, 100)
    assert len(kept) <= 100
    assert set(kept) <= set(some)
    assert some[1234] in kept
    assert kept == sorted(kept)
    assert kept[0].began < 200 and kept[-1].began > 9800


@given(st.integers(0, 500), st.integers(2, 60))
def test_never_more_than_wished(count: int, most: int) -> None:
    assert len(charts.thinned(timed(count), most)) <= max(most, 2)


# --- figures


def test_each_build_is_a_point_that_tells_its_cause() -> None:
    causes = {
        (7, "web"): Caused("a.rs", "a.rs changed"),
        (8, "web"): Caused(EVIL, "new"),
        (9, "api"): Caused("b", "b"),
    }
    some = [Timed(0.0, 0.5, 7), Timed(60.0, 2.0, 8), Timed(90.0, 3.0, 9)]
    figure = charts.build_times({SOURCE: some, SOURCE._replace(kind="BASE"): []}, causes, UTC)
    (trace,) = figure["data"]
    assert (trace["name"], trace["customdata"], trace["y"]) == ("SOURCE", [7, 8, 9], [0.5, 2.0, 3.0])
    assert trace["x"][1] == "1970-01-01 00:01:00"
    assert trace["text"] == [
        "<b>0.50 s</b>  SOURCE<br>a.rs changed",
        f"<b>2.0 s</b>  SOURCE<br>{SAFE}: new",
        "<b>3.0 s</b>  SOURCE",
    ]
    assert trace["marker"]["color"] == charts.COLOURS["SOURCE"]


def test_minutes_beside_seconds_are_drawn_by_powers() -> None:
    def scale(*seconds: float) -> str:
        some = [Timed(0.0, value, 1) for value in seconds]
        return str(charts.build_times({SOURCE: some}, {}, UTC)["layout"]["yaxis"]["type"])

    assert (scale(1.0, 3.0), scale(1.0, 90.0), scale(0.0, 3.0), scale()) == (
        "linear",
        "log",
        "linear",
        "linear",
    )


def test_what_was_live_has_another_mark() -> None:
    live, prod = SOURCE._replace(way="live"), SOURCE._replace(profile="prod")
    figure = charts.build_times({SOURCE: timed(1), live: timed(1), prod: timed(1)}, {}, UTC)
    assert len({trace["marker"]["symbol"] for trace in figure["data"]}) == 3
    assert [trace["name"] for trace in figure["data"]] == ["SOURCE", "SOURCE, live", "SOURCE (prod)"]


def test_medians_are_of_equally_many_builds() -> None:
    some = [Timed(float(number), float(number), number) for number in range(100)]
    (line,) = charts.medians({SOURCE: some, SOURCE._replace(kind="BASE"): timed(5)}, UTC)
    assert line["y"][:2] == [2.0, 7.0]
    assert len(line["y"]) == 20


def test_hit_ratios_are_a_line_for_each_service() -> None:
    hits = [HitsOver("api", 0.0, 1, 3), HitsOver("web", 0.0, 3, 1), HitsOver("web", 300.0, 0, 5)]
    figure = charts.hit_ratio(hits, UTC)
    assert [(trace["name"], trace["y"]) for trace in figure["data"]] == [
        ("api", [0.25]),
        ("web", [0.75, 0.0]),
    ]
    assert figure["data"][1]["text"] == ["3 of 4 steps", "0 of 5 steps"]


def test_the_cache_is_layers_and_mounts() -> None:
    layers, mounts = charts.cache_growth([CacheSize(1.0, 5, 7), CacheSize(61.0, 6, None)], UTC)["data"]
    assert (layers["name"], layers["y"], mounts["name"], mounts["y"]) == (
        "layers",
        [5, 6],
        "mounts",
        [7, None],
    )
    assert layers["x"] == ["1970-01-01 00:00:01", "1970-01-01 00:01:01"]
    (alone,) = charts.cache_growth([CacheSize(1.0, 5, None)], UTC)["data"]
    assert (alone["name"], alone["y"]) == ("layers", [5])
    assert charts.cache_growth([], UTC)["data"] == []


def test_variants_are_in_their_own_order_and_colours() -> None:
    def bar(variant: str, seconds: float) -> Bar:
        return Bar("web", "source", variant, seconds, 3, 0.0)

    figure = charts.standard_against_fast([bar("fast", 1.5), bar(EVIL, 9.0), bar("standard", 80.0)])
    assert [(trace["name"], trace["y"]) for trace in figure["data"]] == [
        ("standard", [80.0]),
        ("fast", [1.5]),
        (SAFE, [9.0]),
    ]
    assert len({trace["marker"]["color"] for trace in figure["data"]}) == 3


# --- the waterfall


def fall(*steps: Step) -> Waterfall:
    return Waterfall(1, 100.0, 9.0, "build", True, steps)


def test_a_stage_lasts_from_its_first_step_to_its_last() -> None:
    figure = charts.waterfall(
        fall(
            Step("web", "build", "RUN a", False, 1.0, 102.0, 103.0),
            Step("web", "build", EVIL, False, 1.0, 104.0, 105.0),
            Step("web", "build", "RUN c", True),
            Step("api", EVIL, "RUN b", False, 4.0, 101.0, 105.0),
            Step("web", "deps", "RUN install", True),
        )
    )
    bars, marks = figure["data"]
    assert bars["y"] == ["web · build", f"api · {SAFE}"]
    assert (bars["base"], bars["x"]) == ([1.0, 0.0], [3.0, 4.0])
    assert bars["text"] == ["2.0 s", "4.0 s"]
    assert bars["hovertext"][0] == f"<b>web · build</b><br><b>1.0 s</b>  RUN a<br><b>1.0 s</b>  {SAFE}"
    assert marks["y"] == ["web · deps"]
    assert figure["layout"]["yaxis"]["categoryarray"] == [*bars["y"], *marks["y"]]
    assert EVIL not in json.dumps(figure)


def test_a_build_of_many_stages_is_bounded() -> None:
    steps = [Step("web", f"s{n}", "RUN x", False, 1.0, 100.0 + n, 101.0 + n) for n in range(200)]
    many = [Step("web", "one", f"RUN {n}", False, 1.0, 100.0, 101.0) for n in range(200)]
    assert len(charts.waterfall(fall(*steps))["data"][0]["y"]) == 60
    assert charts.waterfall(fall(*many))["data"][0]["hovertext"][0].endswith("<br>and 195 more")


def test_steps_without_times_are_no_trouble() -> None:
    bars = charts.waterfall(fall(Step("web", "build", "RUN a", False, 1.0)))["data"][0]
    assert (bars["base"], bars["x"]) == ([0.0], [0.0])
