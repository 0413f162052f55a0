"""Samples, and what is computed from them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.scenarios import BY_NAME, SOURCE, Loss
from benchmarks.variants import VARIANTS


@dataclass(frozen=True)
class Sample:
    """One timed build: wall seconds, and the machine's load (1 minute) just before.

    `edit` is the number of its edit, 0 where there was none. A build that failed has no seconds; `detail` is
    then its last words, else the stages that ran.
    """

    service: str
    scenario: str
    variant: str
    round: int
    seconds: float | None
    edit: int
    load: float
    at: str
    detail: str = ""


@dataclass(frozen=True)
class Figure:
    """The samples of one variant in one scenario."""

    seconds: tuple[float, ...]
    failed: int = 0

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """The largest less the smallest."""
        return max(self.seconds) - min(self.seconds)


class Figures:
    """The samples of one run, found by service, scenario and variant."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = tuple(samples)

    def figure(self, service: str, scenario: str, variant: str) -> Figure | None:
        """None where nothing was tried."""
        found = self._of(service, scenario, variant)
        if not found:
            return None
        seconds = tuple(sample.seconds for sample in found if sample.seconds is not None)
        return Figure(seconds, failed=len(found) - len(seconds))

    def median(self, service: str, scenario: str, variant: str) -> float | None:
        """None where nothing was measured."""
        figure = self.figure(service, scenario, variant)
        return figure.median if figure and figure.seconds else None

    def reference(self, service: str, scenario: str, variant: str) -> float | None:
        """The median that others are compared with.

        To a variant that keeps nothing every change is the same: where it was not measured by itself,
        its figure for the source edit of this run stands for it.
        """
        found = self.median(service, scenario, variant)
        if found is not None or not stands_for(service, scenario, variant):
            return found
        return self.median(service, SOURCE, variant)

    def ratio(self, service: str, scenario: str, variant: str, other: str) -> float | None:
        """How long `variant` takes, as a share of `other`: the median over the rounds that have both.

        Builds of one round ran within minutes of each other, so a slow hour of the machine cancels out.
        Without a common round: of the medians.
        """
        ours, theirs = (self._by_round(service, scenario, each) for each in (variant, other))
        pairs = [ours[number] / theirs[number] for number in ours.keys() & theirs.keys()]
        if pairs:
            return statistics.median(pairs)
        own, reference = self.median(service, scenario, variant), self.reference(service, scenario, other)
        return own / reference if own is not None and reference else None

    def _of(self, service: str, scenario: str, variant: str) -> list[Sample]:
        key = (service, scenario, variant)
        return [each for each in self._samples if (each.service, each.scenario, each.variant) == key]

    def _by_round(self, service: str, scenario: str, variant: str) -> dict[int, float]:
        found = self._of(service, scenario, variant)
        return {each.round: each.seconds for each in found if each.seconds is not None}


def stands_for(service: str, scenario: str, variant: str) -> bool:
    """Whether a source edit costs the variant what this scenario costs it."""
    is_stateless = any(v.stateless for v in VARIANTS if (v.service, v.name) == (service, variant))
    row = BY_NAME[scenario]
    return is_stateless and (bool(row.edits) or row.loss is Loss.LAYERS)


def rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
