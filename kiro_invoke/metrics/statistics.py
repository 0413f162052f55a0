"""What many builds come to: medians, shares, growth. Pure, and told in plain values.

docs/report.md tells what each figure means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.metrics.entry import CacheSize, Group, Measured, StageRow, Timed

#: In this order kinds are told: the weakest first, what is not known last.
KINDS = ("IGNORED", "SOURCE", "DEPENDENCY", "BASE", "CONFIG", "")
#: In these orders measurements are told.
SCENARIOS = ("source", "warm", "dependency", "mounts-lost", "layers-lost", "cold")
VARIANTS = ("standard", "standard-dev", "prod", "fast", "live")
#: Makes the median of deviations comparable with a standard deviation, where values are spread normally.
_NORMAL = 1.4826
#: Measured builds with less than this many seconds between them belong to one run.
_PAUSE = 1800.0


@dataclass(frozen=True)
class KindFigures:
    """The builds of a group that succeeded and whose own time is known: how many, and seconds."""

    group: Group
    count: int
    median: float
    p90: float


@dataclass(frozen=True)
class StageFigures:
    """A stage of a service: in how many builds it ran, and the median of its seconds in these."""

    service: str
    stage: str
    count: int
    median: float


@dataclass(frozen=True)
class Hits:
    """Steps that came from the cache, and steps that ran."""

    hits: int = 0
    misses: int = 0

    @property
    def ratio(self) -> float | None:
        """The share of hits, 0 to 1; None without steps."""
        total = self.hits + self.misses
        return self.hits / total if total else None


@dataclass(frozen=True)
class Growth:
    """A size in bytes as it was first and last read in the window."""

    first: int
    last: int

    @property
    def change(self) -> int:
        return self.last - self.first


@dataclass(frozen=True)
class CacheGrowth:
    """The engine's cache. What was never read is None."""

    layers: Growth | None = None
    mounts: Growth | None = None
    total: Growth | None = None


@dataclass(frozen=True)
class Bar:
    """The latest measurement of a variant: the median of its run in seconds, when it ended, how many samples."""

    service: str
    scenario: str
    variant: str
    median: float
    samples: int
    at: float


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of one or more values lie, linear between two of them."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """The middle of one or more values."""
    return percentile(values, 0.5)


def spread(values: Sequence[float]) -> float:
    """How far one or more values lie apart, as a standard deviation that outliers do not move."""
    middle = median(values)
    return _NORMAL * median([abs(value - middle) for value in values])


def place_of(group: Group) -> tuple[str, str, str, int, str]:
    """Sorts groups into the order to tell them: by service, profile and way, then by kind."""
    place = KINDS.index(group.kind) if group.kind in KINDS else len(KINDS)
    return group.service, group.profile, group.way, place, group.kind


def seconds_of(timed: Iterable[Timed]) -> list[float]:
    """The times, in their order."""
    return [each.seconds for each in timed]


def kind_figures(seconds: Mapping[Group, Sequence[float]]) -> tuple[KindFigures, ...]:
    """Count, median and p90 of each group that has any times, in the order to tell them."""
    return tuple(
        KindFigures(group, len(seconds[group]), median(seconds[group]), percentile(seconds[group], 0.9))
        for group in sorted(seconds, key=place_of)
        if seconds[group]
    )


def stage_figures(stages: Iterable[StageRow]) -> tuple[StageFigures, ...]:
    """How long stages ran where they ran, of each service the slowest first."""
    found: dict[tuple[str, str], list[float]] = {}
    for row in stages:
        found.setdefault((row.service, row.stage), []).append(row.seconds)
    figures = [StageFigures(*place, len(values), median(values)) for place, values in found.items()]
    return tuple(sorted(figures, key=lambda each: (each.service, -each.median, each.stage)))


def growth(sizes: Iterable[CacheSize]) -> CacheGrowth:
    """How the cache grew; `sizes` are oldest first."""
    read = [(size.layers, size.mounts) for size in sizes]
    layers = [one for one, _ in read if one is not None]
    mounts = [one for _, one in read if one is not None]
    total = [one + other for one, other in read if one is not None and other is not None]
    return CacheGrowth(*map(_grown, (layers, mounts, total)))


def bars(measured: Sequence[Measured]) -> tuple[Bar, ...]:
    """Of each service, scenario and variant the latest run, the slowest ways to build first.

    A run is what was noted as one, else a row of measured builds (oldest first) without a pause of half an hour. What
    failed is left out.
    """
    found: dict[tuple[str, str, str], tuple[int, list[Measured]]] = {}
    run, ended, noted = 0, 0.0, ""
    for each in measured:
        run += each.run != noted if each.run or noted else each.began - ended > _PAUSE
        noted = each.run
        ended = max(ended, each.began + each.whole)
        if not each.ok or each.seconds is None:
            continue
        name = (each.service, each.scenario, each.variant)
        of_run, samples = found.get(name, (run, []))
        found[name] = (run, [*samples, each] if of_run == run else [each])
    return tuple(
        Bar(*name, median([one.seconds or 0.0 for one in some]), len(some), some[-1].began + some[-1].whole)
        for name, (_, some) in sorted(found.items(), key=lambda each: _place_of_bar(*each[0]))
    )


def _place_of_bar(service: str, scenario: str, variant: str) -> tuple[object, ...]:
    """Scenarios and variants in the order in which they are told; what another version calls otherwise comes last."""
    orders = ((SCENARIOS, scenario), (VARIANTS, variant))
    return service, *((order.index(name) if name in order else len(order), name) for order, name in orders)


def _grown(values: Sequence[int]) -> Growth | None:
    return Growth(values[0], values[-1]) if values else None
