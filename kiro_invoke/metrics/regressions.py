"""Find builds that got slower, and cry no wolf. Pure.

The median of the recent builds of a group is held against that of the builds before them. It counts as a regression
where it is slower by a share that is worth telling and by several times the spread, and where three quarters of the
recent builds took longer than three quarters of the earlier ones. Medians are moved neither by single slow builds nor
by a lucky one; the spread is of the median of deviations, so that outliers do not hide a regression either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.metrics.entry import Group, Timed
from kiro_invoke.metrics.statistics import median, percentile, seconds_of, spread

#: A quarter of the builds are recent, of these at least and at most:
_FEWEST_RECENT, _MOST_RECENT = 5, 10
#: So many must have been before, and no more are looked at: what was usual a year ago is not.
_FEWEST_EARLIER, _MOST_EARLIER = 15, 100
#: Builds that a group needs to be judged.
FEWEST = _FEWEST_RECENT + _FEWEST_EARLIER
#: What is worth telling: this share, and this many seconds.
_SHARE, _SECONDS = 0.25, 0.2
#: So many spreads slower. The fewer the earlier ones, the less their spread is known: with _UNSURE of them it is
#: taken for twice as wide.
_SPREADS, _UNSURE = 3.0, 10.0


@dataclass(frozen=True)
class Regression:
    """A group whose recent builds are slower: medians before and now in seconds, and of how many builds.

    `spread` is that of both, as if they had not got slower; `since` when the first of the recent ones began (epoch).
    """

    group: Group
    before: float
    now: float
    earlier: int
    recent: int
    spread: float
    since: float

    @property
    def percent(self) -> float | None:
        """By how much slower; None where it took no time before."""
        return (self.now / self.before - 1) * 100 if self.before else None


@dataclass(frozen=True)
class Judged:
    """The groups that had builds enough, and those of them that got slower, the worst first."""

    groups: Sequence[Group]
    regressions: Sequence[Regression]


def judge(times: Mapping[Group, Sequence[Timed]]) -> Judged:
    """Look at every group whose kind of change is known; its times are oldest first."""
    enough = {group: some for group, some in times.items() if group.kind and len(some) >= FEWEST}
    found = [each for group, some in enough.items() if (each := _regression(group, some)) is not None]
    return Judged(tuple(enough), tuple(sorted(found, key=lambda each: each.before - each.now)))


def slower(earlier: Sequence[float], recent: Sequence[float]) -> bool:
    """Whether the recent ones took longer, beyond doubt."""
    before, now = median(earlier), median(recent)
    if now <= before:
        return False
    doubt = _spread(earlier, recent) * _SPREADS * (1 + _UNSURE / len(earlier))
    apart = percentile(recent, 0.25) > percentile(earlier, 0.75)
    return apart and now - before > max(before * _SHARE, _SECONDS, doubt)


def _spread(earlier: Sequence[float], recent: Sequence[float]) -> float:
    """The spread of both, had nothing changed: what takes twice as long spreads twice as wide."""
    faster = median(earlier) / median(recent)
    return spread([*earlier, *(value * faster for value in recent)])


def _regression(group: Group, timed: Sequence[Timed]) -> Regression | None:
    count = min(max(len(timed) // 4, _FEWEST_RECENT), _MOST_RECENT)
    earlier = seconds_of(timed[:-count][-_MOST_EARLIER:])
    recent = seconds_of(timed[-count:])
    if not slower(earlier, recent):
        return None
    return Regression(
        group,
        before=median(earlier),
        now=median(recent),
        earlier=len(earlier),
        recent=len(recent),
        spread=_spread(earlier, recent),
        since=timed[-count].began,
    )
