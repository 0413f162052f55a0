"""Samples, and what is computed from them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kiro_invoke.benchmark.scenarios import Scenario, Variant

#: From here on a sample is an outlier: its modified z-score (Iglewicz and Hoaglin), as hyperfine takes it.
_OUTLYING = 3.5
#: What makes a median absolute deviation comparable with a standard deviation.
_SCALE = 0.6745
#: Fewer samples have no outliers: of three, one is always far from the other two.
_FEW = 4


@dataclass(frozen=True)
class Key:
    """Which figure a sample belongs to."""

    service: str
    scenario: Scenario
    variant: Variant


@dataclass(frozen=True)
class Sample:
    """One timed build: wall seconds (None: it failed, and `detail` tells how), in which round, and when (ISO 8601).

    `probe` are the seconds that a fixed piece of work took just before: how fast the machine was then.
    """

    key: Key
    round: int
    seconds: float | None
    probe: float = 0.0
    at: str = ""
    detail: str = ""
    #: of one that failed, the last words of the step
    tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """The samples of one variant in one scenario, in the order in which they were taken."""

    seconds: tuple[float, ...]
    failed: int = 0

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> float:
        """The median absolute deviation, as a share of the median; 0.0 of a single sample."""
        middle = self.median
        if not middle:
            return 0.0
        return statistics.median(abs(each - middle) for each in self.seconds) / middle

    @property
    def outliers(self) -> tuple[int, ...]:
        """Which samples lie far from the others, by their place."""
        return outliers(self.seconds)


def outliers(seconds: Sequence[float]) -> tuple[int, ...]:
    """The places of values whose distance to the median is far beyond the usual one."""
    if len(seconds) < _FEW:
        return ()
    middle = statistics.median(seconds)
    usual = statistics.median(abs(each - middle) for each in seconds)
    if not usual:
        return ()
    return tuple(at for at, each in enumerate(seconds) if _SCALE * abs(each - middle) / usual > _OUTLYING)


class Samples:
    """The samples of one run, found by what they are of."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._by_key: dict[Key, list[Sample]] = {}
        for sample in samples:
            self._by_key.setdefault(sample.key, []).append(sample)

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(self._by_key)

    def figure(self, key: Key) -> Figure:
        """What was measured; nothing where nothing was tried."""
        found = self._by_key.get(key, [])
        seconds = tuple(sample.seconds for sample in found if sample.seconds is not None)
        return Figure(seconds, failed=len(found) - len(seconds))

    def median(self, key: Key) -> float | None:
        return self.figure(key).median

    def ratio(self, key: Key, other: Key) -> float | None:
        """How long one takes as a share of another: the median over the rounds that both have, else of the medians.

        Builds of one round ran one after the other, so a slow hour of the machine cancels out.
        """
        ours, theirs = self._by_round(key), self._by_round(other)
        pairs = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys() if theirs[number]]
        if pairs and key.scenario is other.scenario:
            return statistics.median(pairs)
        own, reference = self.median(key), self.median(other)
        return own / reference if own is not None and reference else None

    def _by_round(self, key: Key) -> dict[int, float]:
        return {one.round: one.seconds for one in self._by_key.get(key, ()) if one.seconds is not None}


def unsteadiness(samples: Iterable[Sample]) -> float | None:
    """By how much the machine's speed varied during a run: the probe's 90th percentile over its 10th, less one.

    None for fewer than ten samples.
    """
    probes = [sample.probe for sample in samples if sample.probe > 0]
    if len(probes) < 10:
        return None
    tenths = statistics.quantiles(probes, n=10)
    return tenths[-1] / tenths[0] - 1
