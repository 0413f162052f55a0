"""What many builds come to, against figures computed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from kiro_invoke.metrics.causes import Invalidation, invalidations
from kiro_invoke.metrics.entry import CacheSize, Group, Measured, StageRow, Tally
from kiro_invoke.metrics.statistics import (
    Bar,
    CacheGrowth,
    Growth,
    Hits,
    KindFigures,
    StageFigures,
    bars,
    growth,
    kind_figures,
    median,
    percentile,
    spread,
    stage_figures,
)

SOURCE = Group("web", "dev", "image", "SOURCE")


# --- single figures


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.9, 7.0),
        ([7.0], 0.0, 7.0),
        ([1.0, 2.0], 0.5, 1.5),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0], 0.9, 9.1),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0], 0.9, 10.0),
        ([5.0, 5.0, 5.0], 0.9, 5.0),
        ([1.0, 9.0], 1.0, 9.0),
    ],
)
def test_percentiles(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == pytest.approx(expected)


def test_the_median_is_in_no_order() -> None:
    assert median([9.0, 1.0, 5.0, 3.0]) == 4.0


def test_the_spread_is_of_deviations_from_the_median() -> None:
    # median 3, deviations 2 1 0 1 97: their median is 1
    assert spread([1.0, 2.0, 3.0, 4.0, 100.0]) == pytest.approx(1.4826)
    assert spread([4.0]) == 0.0
    assert spread([4.0, 4.0, 4.0]) == 0.0


# --- kinds


def test_each_kind_has_its_count_median_and_p90() -> None:
    (figures,) = kind_figures({SOURCE: [float(number) for number in range(10, 0, -1)]})
    assert (figures.group, figures.count, figures.median) == (SOURCE, 10, 5.5)
    assert figures.p90 == pytest.approx(9.1)


def test_one_build_is_its_own_median_and_p90() -> None:
    assert kind_figures({SOURCE: [2.5]}) == (KindFigures(SOURCE, 1, 2.5, 2.5),)


def test_groups_are_told_by_service_and_kind_the_unknown_one_last() -> None:
    groups = [
        SOURCE._replace(kind=""),
        SOURCE._replace(kind="NEW"),
        SOURCE._replace(way="live"),
        SOURCE._replace(kind="BASE"),
        SOURCE._replace(profile="prod"),
        SOURCE._replace(kind="IGNORED"),
        SOURCE._replace(service="api", kind="CONFIG"),
        SOURCE,
    ]
    told = [each.group for each in kind_figures({group: [1.0] for group in groups})]
    assert [f"{group.service} {group.title}" for group in told] == [
        "api CONFIG",
        "web IGNORED",
        "web SOURCE",
        "web BASE",
        "web no kind known",
        "web NEW",
        "web SOURCE, live",
        "web SOURCE (prod)",
    ]


# --- stages


def test_stages_are_of_the_builds_in_which_they_ran_the_slowest_first() -> None:
    rows = [
        StageRow(1, "web", "build", 1.0),
        StageRow(1, "web", "cook", 30.0),
        StageRow(2, "web", "build", 3.0),
        StageRow(3, "web", "build", 8.0),
        StageRow(3, "api", "build", 5.0),
    ]
    assert stage_figures(rows) == (
        StageFigures("api", "build", 1, 5.0),
        StageFigures("web", "cook", 1, 30.0),
        StageFigures("web", "build", 3, 3.0),
    )


# --- the cache


def test_the_ratio_of_hits() -> None:
    assert Hits(3, 1).ratio == 0.75
    assert Hits(0, 4).ratio == 0.0
    assert Hits().ratio is None


def test_growth_is_from_the_first_to_the_last_reading() -> None:
    sizes = [
        CacheSize(1.0, None, 5),
        CacheSize(2.0, 100, 10),
        CacheSize(3.0, 900, 10),
        CacheSize(4.0, 70, 25),
        CacheSize(5.0, 80, None),
    ]
    found = growth(sizes)
    assert found == CacheGrowth(Growth(100, 80), Growth(5, 25), Growth(110, 95))
    assert [each and each.change for each in (found.layers, found.mounts, found.total)] == [-20, 20, -15]


def test_a_size_that_was_never_read_is_not_told() -> None:
    assert growth([]) == CacheGrowth()
    assert growth([CacheSize(1.0, 5, None)]) == CacheGrowth(layers=Growth(5, 5))


# --- what has things built again


def tally(file: str, cause: str, times: int, seconds: float, **more: Any) -> Tally:
    return Tally("web", "dev", "SOURCE", file, cause, times, times, seconds, 1)._replace(**more)


def test_time_lost_is_what_goes_beyond_a_build_of_nothing() -> None:
    times = {
        SOURCE._replace(kind="IGNORED"): [0.5, 0.25, 9.0],
        SOURCE._replace(kind="IGNORED", way="live"): [0.25, 0.75],
    }
    found = invalidations([tally("a", "a changed", 4, 10.0), tally("b", "b changed", 1, 0.125)], times)
    assert found == (
        Invalidation("web", "SOURCE", "a", "a changed", 1, 4, 8.0),
        Invalidation("web", "SOURCE", "b", "b changed", 1, 1, 0.0),
    )


def test_without_a_build_of_nothing_all_of_it_is_lost() -> None:
    of_another = {SOURCE._replace(kind="IGNORED", service="api"): [5.0]}
    (found,) = invalidations([tally("a", "x", 2, 10.0)], of_another)
    assert found.lost == 10.0


def test_builds_without_a_time_count_and_lose_nothing() -> None:
    times = {SOURCE._replace(kind="IGNORED"): [1.0]}
    (found,) = invalidations([tally("a", "x", 5, 4.0, timed=2)], times)
    assert (found.times, found.lost) == (5, 2.0)


def test_a_files_causes_are_told_as_one_the_most_frequent_by_name() -> None:
    found = invalidations(
        [
            tally("Cargo.toml", "`hex` added", 1, 8.0, kind="DEPENDENCY", latest=7),
            tally("Cargo.toml", "`rand` removed", 3, 30.0, kind="DEPENDENCY", latest=2),
            tally("Cargo.toml", "`toml` added", 1, 9.0, kind="DEPENDENCY", profile="prod", latest=3),
            tally("Cargo.toml", "version changed", 9, 5.0),
        ],
        {},
    )
    assert [(one.kind, one.cause, one.causes, one.times, one.lost) for one in found] == [
        ("DEPENDENCY", "`rand` removed", 3, 5, 47.0),
        ("SOURCE", "version changed", 1, 9, 5.0),
    ]


def test_of_equally_frequent_causes_the_latest_is_told() -> None:
    found = invalidations([tally("a", "x", 2, 1.0, latest=5), tally("a", "y", 2, 1.0, latest=4)], {})
    assert found[0].cause == "x"


def test_causes_without_a_file_stand_for_themselves() -> None:
    found = invalidations([tally("", "the base image is new", 1, 2.0), tally("", "an argument", 1, 1.0)], {})
    assert [(one.file, one.cause) for one in found] == [("", "the base image is new"), ("", "an argument")]


# --- measurements


def measured(
    began: float, seconds: float | None, variant: str = "fast", *, ok: bool = True, run: str = ""
) -> Measured:
    return Measured(began, ok, seconds or 5.0, "web", "source", variant, seconds, run)


def test_runs_that_were_noted_are_not_mixed_however_close_they_are() -> None:
    before = [measured(number * 10.0, 12.0, "live", run="r1") for number in range(3)]
    (bar,) = bars([*before, measured(40.0, 3.0, "live", run="r2"), measured(9000.0, 5.0, "live", run="r2")])
    assert (bar.median, bar.samples) == (4.0, 2)


def test_bars_are_the_medians_of_the_latest_run() -> None:
    rows = [
        measured(0.0, 90.0),
        measured(100.0, 80.0, "standard"),
        # another run: more than half an hour later
        measured(10_000.0, 3.0),
        measured(10_100.0, 9.0),
        measured(10_200.0, 5.0),
    ]
    assert bars(rows) == (
        Bar("web", "source", "standard", 80.0, 1, 180.0),
        Bar("web", "source", "fast", 5.0, 3, 10_205.0),
    )


def test_a_long_build_is_no_pause() -> None:
    rows = [measured(0.0, 4000.0), measured(4100.0, 1000.0)]
    assert [(bar.median, bar.samples) for bar in bars(rows)] == [(2500.0, 2)]


def test_what_failed_is_not_measured() -> None:
    rows = [measured(0.0, 4.0), measured(10.0, 1.0, ok=False), measured(20.0, None)]
    assert [(bar.median, bar.samples) for bar in bars(rows)] == [(4.0, 1)]
    assert bars([measured(0.0, 1.0, ok=False)]) == ()
