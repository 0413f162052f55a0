"""What a report reads from the store: windows, measurements apart, and details for the charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kiro_invoke.metrics import details as details_module
from kiro_invoke.metrics.details import Caused, HitsOver, stretch_of
from kiro_invoke.metrics.entry import (
    CACHED,
    LIVE,
    MEASURING,
    RAN,
    CacheSize,
    Counted,
    Entry,
    Group,
    ImageEntry,
    Measured,
    StageRow,
    Tally,
    Timed,
    Window,
)
from kiro_invoke.metrics.history import STAGE_BUILDS, History
from kiro_invoke.metrics.statistics import CacheGrowth, Growth, growth
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.record import Step

SOURCE = Group("web", "dev", "image", "SOURCE")
IMAGE = ImageEntry(
    "web", "dev", "SOURCE", "a changed", "a", predicted=CACHED, verdict=CACHED, seconds=2.0, cached=3, ran=1
)
BUILD = Entry(
    1000.0,
    2.5,
    "build",
    cache_layers=5,
    cache_mounts=7,
    images=(IMAGE,),
    steps=(
        Step("web", "build", "RUN make", False, 1.5, 1000.0, 1001.5),
        Step("web", "build", "RUN test", False, 0.5, 1001.5, 1002.0),
        Step("web", "deps", "RUN install", True),
        Step("", "", "load", False, 9.0, 1000.0, 1009.0),
    ),
)


def at(began: float, build: Entry = BUILD, **of_image: Any) -> Entry:
    (image,) = build.images
    return replace(build, began=began, images=(replace(image, **of_image),))


def measurement(began: float, **more: Any) -> Entry:
    return replace(at(began, variant="fast", scenario="source", **more), command=MEASURING)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path, pytest.fail)


def test_a_window_holds_all_that_a_report_tells(store: Store) -> None:
    store.add([BUILD, at(2000.0, replace(BUILD, ok=False), seconds=9.0)])
    history = store.history()
    assert history == History(
        recorded=2,
        builds=2,
        failed=1,
        first=1000.0,
        latest=2000.0,
        times={SOURCE: [Timed(1000.0, 2.0, 1)]},
        counts=[Counted("web", 2, 1, 6, 2, 2)],
        tallies=[Tally("web", "dev", "SOURCE", "a", "a changed", 2, 2, 11.0, 2)],
        sizes=[CacheSize(1000.0, 5, 7), CacheSize(2000.0, 5, 7)],
        stages=[StageRow(1, "web", "build", 2.0)],
        measured=[],
        wrong=[],
    )


def test_an_empty_store_is_an_empty_history(store: Store) -> None:
    assert store.history() == History(measured=[])


def test_measurements_are_told_by_themselves(store: Store) -> None:
    store.add([BUILD, measurement(1500.0), measurement(1600.0)])
    history = store.history()
    assert (history.recorded, history.builds, history.latest) == (3, 1, 1000.0)
    assert history.times == {SOURCE: [Timed(1000.0, 2.0, 1)]}
    assert history.counts == [Counted("web", 1, 0, 3, 1, 1)]
    assert [tally.times for tally in history.tallies] == [1]
    assert len(history.sizes) == len(history.stages) == 1
    assert len(store.details(history, []).sizes) == 1
    assert history.measured == [
        Measured(began, True, 2.5, "web", "source", "fast", 2.0) for began in (1500.0, 1600.0)
    ]


def test_a_measurements_wrong_prediction_is_none(store: Store) -> None:
    store.add([measurement(1.0, predicted=RAN), at(2.0, predicted=RAN), at(3.0, predicted="")])
    (wrong,) = store.history().wrong
    assert (wrong.began, wrong.service, wrong.predicted, wrong.verdict) == (2.0, "web", RAN, CACHED)
    assert store.history().counts == [Counted("web", 2, 0, 6, 2, 1)]


def test_a_window_is_of_time_or_number_and_measurements_do_not_count(store: Store) -> None:
    store.add([at(float(number), seconds=float(number)) for number in range(1, 11)])
    store.add([measurement(20.0 + number) for number in range(50)])

    def seconds(window: Window) -> list[float]:
        return [timed.seconds for timed in store.history(window).times[SOURCE]]

    assert seconds(Window(last=3)) == [8, 9, 10]
    assert seconds(Window(after=9.0)) == [9, 10]
    assert seconds(Window(last=99)) == list(range(1, 11))
    last = store.history(Window(last=3))
    assert (last.builds, last.recorded, last.first) == (3, 60, 8.0)
    assert last.counts == [Counted("web", 3, 0, 9, 3, 3)]
    assert [tally.times for tally in last.tallies] == [3]
    assert [size.began for size in last.sizes] == [8.0, 10.0]
    assert [size.began for size in store.details(last, []).sizes] == [8.0, 9.0, 10.0]
    assert len(last.stages) == 3
    assert len(last.measured) == 50
    assert len(store.history(Window(after=60.0)).measured) == 10


def test_times_are_in_the_order_of_the_builds_not_of_their_recording(store: Store) -> None:
    """Builds made outside are imported later."""
    store.add([at(5.0, seconds=5.0)])
    store.add([at(3.0, seconds=3.0), at(7.0, seconds=7.0)])
    assert [timed.seconds for timed in store.history().times[SOURCE]] == [3, 5, 7]


def test_the_first_and_the_last_reading_of_each_size_are_told(store: Store) -> None:
    sizes = [(None, None), (None, 1), (2, 1), (3, 9), (4, 5), (6, None), (None, None)]
    store.add(
        [replace(at(float(n)), cache_layers=size[0], cache_mounts=size[1]) for n, size in enumerate(sizes)]
    )
    read = store.history().sizes
    assert growth(read) == growth([CacheSize(float(n), *size) for n, size in enumerate(sizes)])
    assert growth(read) == CacheGrowth(Growth(2, 6), Growth(1, 5), Growth(3, 9))
    assert len(read) == 4


def test_ways_profiles_and_kinds_are_kept_apart(store: Store) -> None:
    live = replace(at(2.0), way=LIVE)
    store.add([at(1.0), live, at(3.0, profile="prod"), at(4.0, kind=""), at(5.0, seconds=None)])
    assert set(store.history().times) == {
        SOURCE,
        SOURCE._replace(way=LIVE),
        SOURCE._replace(profile="prod"),
        SOURCE._replace(kind=""),
    }


def test_what_had_nothing_built_again_is_no_cause(store: Store) -> None:
    store.add([at(1.0, kind=""), at(2.0, kind="IGNORED"), at(3.0, file="", cause="")])
    assert store.history().tallies == []


def test_stages_are_those_of_the_last_builds(store: Store) -> None:
    store.add([at(float(number)) for number in range(STAGE_BUILDS + 10)])
    stages = store.history().stages
    assert len(stages) == STAGE_BUILDS
    assert stages[0].build == 11


# --- details


def test_details_are_the_causes_of_what_is_drawn_and_the_steps(store: Store) -> None:
    store.add([BUILD, at(1400.0, cause="b changed", file="b"), replace(at(1500.0), steps=())])
    details = store.details(store.history(), [2])
    assert details.causes == {(2, "web"): Caused("b", "b changed")}
    assert [fall.build for fall in details.waterfalls] == [2, 1]
    assert details.waterfalls[1].steps == list(BUILD.steps)
    assert (details.waterfalls[1].seconds, details.waterfalls[1].command) == (2.5, "build")


def test_hits_are_summed_up_over_stretches(store: Store) -> None:
    store.add(
        [at(900.0), at(1100.0, cached=1, ran=0), at(1300.0), measurement(1301.0), at(1302.0, cached=0, ran=0)]
    )
    details = store.details(store.history(), [])
    assert details.stretch == 300.0
    assert details.hits == [HitsOver("web", 900.0, 4, 1), HitsOver("web", 1200.0, 3, 1)]


@pytest.mark.parametrize(
    ("span", "stretch"), [(0.0, 300.0), (86_400.0, 3600.0), (20 * 86_400.0, 21_600.0), (1e10, 1e10 / 120)]
)
def test_no_span_of_time_has_many_stretches(span: float, stretch: float) -> None:
    assert stretch_of(span) == stretch


def test_waterfalls_are_the_last_ones_of_builds_that_ran_a_step(store: Store) -> None:
    count = details_module.WATERFALLS
    idle = replace(BUILD, steps=(Step("web", "deps", "RUN install", True),))
    store.add([at(float(number)) for number in range(count + 20)])
    store.add([at(5000.0, idle), measurement(6000.0)])
    falls = store.details(store.history(), []).waterfalls
    assert (len(falls), falls[0].began, falls[-1].began) == (count, count + 19.0, 20.0)


def test_as_many_causes_as_are_drawn_can_be_asked_for(store: Store) -> None:
    store.add([at(float(number)) for number in range(2000)])
    assert len(store.details(store.history(), range(1, 2001)).causes) == 2000


def test_of_many_sizes_some_are_told(store: Store) -> None:
    store.add([at(float(number)) for number in range(2000)])
    assert 300 <= len(store.details(store.history(), []).sizes) <= 400


def test_an_empty_history_has_no_details(store: Store) -> None:
    assert store.details(History(), []).waterfalls == ()
