"""Read what only charts tell: causes of the builds that are drawn, hits over time, the steps of the last builds."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kiro_invoke.metrics.entry import MEASURING, CacheSize
from kiro_invoke.metrics.history import JOINED, MEANT, History
from kiro_invoke.model.record import Step

#: Of so many of the last builds that ran a step, the steps are drawn.
WATERFALLS = 100
#: The cache's hits are summed up over stretches of one of these lengths (seconds), the shortest that gives no more
#: points than this for a service.
_STRETCHES = (300.0, 3600.0, 21_600.0, 86_400.0, 604_800.0, 2_592_000.0)
_MOST_STRETCHES = 120
#: The cache's size is told after about so many builds, however many there are.
_SIZES = 300
#: SQLite takes so many values in a statement, whatever its version.
_AT_ONCE = 900


class Caused(NamedTuple):
    """Why a build did what it did for a service."""

    file: str
    cause: str


class HitsOver(NamedTuple):
    """A service's steps in a stretch of time: when that begins (epoch), those from the cache, and those that ran."""

    service: str
    began: float
    hits: int
    misses: int


@dataclass(frozen=True)
class Waterfall:
    """A build with its steps."""

    build: int
    began: float
    seconds: float
    command: str
    ok: bool
    steps: Sequence[Step]


@dataclass(frozen=True)
class Details:
    """`causes` by build and service, some `sizes` oldest first, `waterfalls` latest first. `stretch` is in seconds."""

    causes: Mapping[tuple[int, str], Caused] = field(default_factory=dict)
    stretch: float = 0.0
    hits: Sequence[HitsOver] = ()
    sizes: Sequence[CacheSize] = ()
    waterfalls: Sequence[Waterfall] = ()


def read_details(db: sqlite3.Connection, history: History, builds: Sequence[int]) -> Details:
    """The details of a history that was read from this store."""
    if history.first is None or history.latest is None:
        return Details()
    stretch = stretch_of(history.latest - history.first)
    return Details(
        causes=_causes(db, sorted(set(builds))),
        stretch=stretch,
        hits=_hits(db, history.first, stretch),
        sizes=_sizes(db, history.first, max(history.builds // _SIZES, 1)),
        waterfalls=_waterfalls(db, history.first),
    )


def stretch_of(seconds: float) -> float:
    """Into how long stretches (seconds) a span of time is divided."""
    return next((each for each in _STRETCHES if seconds / each < _MOST_STRETCHES), seconds / _MOST_STRETCHES)


def _causes(db: sqlite3.Connection, builds: Sequence[int]) -> dict[tuple[int, str], Caused]:
    found = {}
    for start in range(0, len(builds), _AT_ONCE):
        some = builds[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        for build, service, file, cause in db.execute(
            f"SELECT build, service, file, cause FROM images WHERE build IN ({marks})", some
        ):
            found[build, service] = Caused(file, cause)
    return found


def _hits(db: sqlite3.Connection, first: float, stretch: float) -> list[HitsOver]:
    found = db.execute(
        "SELECT i.service, CAST(b.began / ? AS INTEGER) * ? AS since, SUM(i.cached), SUM(i.ran)"
        f" FROM {JOINED} AND i.cached + i.ran > 0 GROUP BY i.service, since ORDER BY i.service, since",
        (stretch, stretch, first, MEASURING),
    )
    return list(map(HitsOver._make, found))


def _sizes(db: sqlite3.Connection, first: float, step: int) -> list[CacheSize]:
    found = db.execute(
        f"SELECT began, cache_layers, cache_mounts FROM builds WHERE {MEANT} AND id % ? = 0"
        " AND (cache_layers NOT NULL OR cache_mounts NOT NULL) ORDER BY began, id",
        (first, MEASURING, step),
    )
    return list(map(CacheSize._make, found))


def _waterfalls(db: sqlite3.Connection, first: float) -> list[Waterfall]:
    builds = db.execute(
        f"SELECT id, began, seconds, command, ok FROM builds WHERE {MEANT}"
        " AND EXISTS (SELECT 1 FROM steps WHERE build = builds.id AND cached = 0)"
        " ORDER BY began DESC, id DESC LIMIT ?",
        (first, MEASURING, WATERFALLS),
    ).fetchall()
    steps = _steps(db, [build[0] for build in builds])
    return [
        Waterfall(id, began, seconds, command, bool(ok), steps[id])
        for id, began, seconds, command, ok in builds
    ]


def _steps(db: sqlite3.Connection, builds: Sequence[int]) -> dict[int, list[Step]]:
    found: dict[int, list[Step]] = {}
    marks = ", ".join("?" * len(builds))
    for build, service, stage, text, cached, *times in db.execute(
        "SELECT build, service, stage, text, cached, seconds, started, completed FROM steps"
        f" WHERE build IN ({marks}) ORDER BY rowid",
        builds,
    ):
        found.setdefault(build, []).append(Step(service, stage, text, bool(cached), *times))
    return found
