"""Find builds that got slower, and cry no wolf. Pure.

The median of the recent builds of a group is held against the builds before them. It counts as a regression where it is
slower by a share that is worth telling, by several times the spread of the earlier ones, and than three quarters of
these. The median of several is moved neither by single slow builds nor by one lucky one before them; the spread is of
the median of deviations, so that outliers do not hide a regression either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.metrics.entry import Group, Timed
from kiro_invoke.metrics.statistics import median, percentile, seconds_of, spread

#: A quarter of the builds are recent, of these at least and at most:
_FEWEST_RECENT, _MOST_RECENT = 5, 10
#: So many must have been before, and no more are looked at: what was usual a year ago is not.
_FEWEST_EARLIER, _MOST_EARLIER = 10, 100
#: What is worth telling: this share, and this many seconds.
_SHARE, _SECONDS = 0.25, 0.2
#: So many spreads slower. The fewer the earlier ones, the less their spread is known (_UNSURE of them doubles it).
_SPREADS, _UNSURE = 3.0, 5.0


@dataclass(frozen=True)
class Regression:
    """A group whose recent builds are slower: medians before and now in seconds, and of how many builds.

    `spread` is that of the earlier ones, `since` when the first of the recent ones began (epoch).
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
    enough = {
        group: some
        for group, some in times.items()
        if group.kind and len(some) >= _FEWEST_RECENT + _FEWEST_EARLIER
    }
    found = [each for group, some in enough.items() if (each := _regression(group, some)) is not None]
    return Judged(tuple(enough), tuple(sorted(found, key=lambda each: each.before - each.now)))


def slower(earlier: Sequence[float], recent: Sequence[float]) -> bool:
    """Whether the recent ones took longer, beyond doubt."""
    before, now = median(earlier), median(recent)
    doubt = spread(earlier) * _SPREADS * (1 + _UNSURE / len(earlier))
    return now - before > max(before * _SHARE, _SECONDS, doubt) and now > percentile(earlier, 0.75)


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
        spread=spread(earlier),
        since=timed[-count].began,
    )
