"""Which changes cost most. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.metrics.entry import Group, Tally
from kiro_invoke.metrics.statistics import median

_NOTHING = "IGNORED"


@dataclass(frozen=True)
class Invalidation:
    """A file whose changes had something built again (or a cause that has no file: `file` is "").

    `cause` is the most frequent one, of equals the latest; `causes` how many there were. `lost` is in seconds: what
    its builds took over builds in which nothing had changed.
    """

    service: str
    kind: str
    file: str
    cause: str
    causes: int
    times: int
    lost: float


def invalidations(
    tallies: Iterable[Tally], seconds: Mapping[Group, Sequence[float]]
) -> tuple[Invalidation, ...]:
    """What had something built again, the dearest first. `seconds` are those of all builds, by group.

    A build without a known time counts, and loses nothing.
    """
    idle = _idle(seconds)
    found: dict[tuple[str, str, str], list[Tally]] = {}
    for tally in tallies:
        # without a file, each cause is a thing of its own; no file's name holds a NUL
        found.setdefault((tally.service, tally.kind, tally.file or f"\0{tally.cause}"), []).append(tally)
    told = [_told(some, idle) for some in found.values()]
    return tuple(sorted(told, key=lambda each: (-each.lost, -each.times, each.service, each.file)))


def _idle(seconds: Mapping[Group, Sequence[float]]) -> dict[tuple[str, str], float]:
    """What a build takes in which nothing changed, by service and profile."""
    found: dict[tuple[str, str], list[float]] = {}
    for group, some in seconds.items():
        if group.kind == _NOTHING:
            found.setdefault((group.service, group.profile), []).extend(some)
    return {place: median(values) for place, values in found.items() if values}


def _told(tallies: Sequence[Tally], idle: Mapping[tuple[str, str], float]) -> Invalidation:
    causes: dict[str, tuple[int, int]] = {}
    for tally in tallies:
        times, latest = causes.get(tally.cause, (0, 0))
        causes[tally.cause] = (times + tally.times, max(latest, tally.latest))
    lost = sum(
        max(tally.seconds - tally.timed * idle.get((tally.service, tally.profile), 0.0), 0.0)
        for tally in tallies
    )
    one = tallies[0]
    return Invalidation(
        one.service,
        one.kind,
        one.file,
        max(causes, key=lambda cause: causes[cause]),
        len(causes),
        sum(tally.times for tally in tallies),
        lost,
    )
