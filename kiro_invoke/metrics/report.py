"""All that a report tells, computed from a history. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.metrics.causes import Invalidation, invalidations
from kiro_invoke.metrics.entry import Counted, Group, Wrong
from kiro_invoke.metrics.history import STAGE_BUILDS, History
from kiro_invoke.metrics.regressions import Judged, judge
from kiro_invoke.metrics.statistics import (
    Bar,
    CacheGrowth,
    Hits,
    KindFigures,
    StageFigures,
    bars,
    growth,
    kind_figures,
    median,
    seconds_of,
    stage_figures,
)


@dataclass(frozen=True)
class ServiceReport:
    """One service: `builds` made its image or brought its container up to date, `failed` of these did not succeed.

    `source` is the median of its builds after an edit of a source, in seconds, however they were made; None without.
    `checked` predictions have the engine's verdict, `wrong` of these another one.
    """

    name: str
    builds: int
    failed: int
    source: float | None
    kinds: Sequence[KindFigures]
    stages: Sequence[StageFigures]
    hits: Hits
    checked: int
    wrong: int


@dataclass(frozen=True)
class Report:
    """A window's builds, see History. `services` are in the order of their names.

    `stage_builds`: stages are of the last so many builds, fewer than `builds`, or None where they are of all.
    """

    recorded: int
    builds: int
    failed: int
    first: float | None
    latest: float | None
    source: float | None
    hits: Hits
    services: Sequence[ServiceReport]
    stage_builds: int | None
    cache: CacheGrowth
    invalidations: Sequence[Invalidation]
    judged: Judged
    checked: int
    wrong: Sequence[Wrong]
    bars: Sequence[Bar]


def report(history: History) -> Report:
    """What a history comes to."""
    counts = history.counts
    # sorted once: to sort what is sorted costs next to nothing
    seconds = {group: sorted(seconds_of(some)) for group, some in history.times.items()}
    return Report(
        recorded=history.recorded,
        builds=history.builds,
        failed=history.failed,
        first=history.first,
        latest=history.latest,
        source=_source(seconds),
        hits=Hits(sum(each.cached for each in counts), sum(each.ran for each in counts)),
        services=tuple(_service(each, history, seconds) for each in counts),
        stage_builds=STAGE_BUILDS if history.builds > STAGE_BUILDS else None,
        cache=growth(history.sizes),
        invalidations=invalidations(history.tallies, seconds),
        judged=judge(history.times),
        checked=sum(each.checked for each in counts),
        wrong=history.wrong,
        bars=bars(history.measured),
    )


def _service(counted: Counted, history: History, seconds: Mapping[Group, Sequence[float]]) -> ServiceReport:
    name = counted.service
    own = {group: some for group, some in seconds.items() if group.service == name}
    return ServiceReport(
        name,
        counted.builds,
        counted.failed,
        source=_source(own),
        kinds=kind_figures(own),
        stages=stage_figures([row for row in history.stages if row.service == name]),
        hits=Hits(counted.cached, counted.ran),
        checked=counted.checked,
        wrong=sum(each.service == name for each in history.wrong),
    )


def _source(seconds: Mapping[Group, Sequence[float]]) -> float | None:
    found = [value for group, some in seconds.items() if group.kind == "SOURCE" for value in some]
    return median(found) if found else None
