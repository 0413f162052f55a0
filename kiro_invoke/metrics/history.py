"""Read what a report needs from the store. There may be hundreds of thousands of builds: SQLite does the counting."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kiro_invoke.metrics.entry import (
    MEASURING,
    CacheSize,
    Counted,
    Group,
    Measured,
    StageRow,
    Tally,
    Timed,
    Window,
    Wrong,
)

#: Stages are looked at in so many builds, the last of a window: each has dozens.
STAGE_BUILDS = 1000


@dataclass(frozen=True)
class History:
    """What a window's builds are made of, oldest first, without measurements; these by themselves.

    `recorded` counts the builds of the whole store. `first` and `latest` tell when the window's began (epoch). `times`
    are of images that succeeded and took time, `stages` those that ran in the last STAGE_BUILDS builds and in builds
    that succeeded, `wrong` the latest first. Of the cache's `sizes` there are the first and the last readings.
    """

    recorded: int = 0
    builds: int = 0
    failed: int = 0
    first: float | None = None
    latest: float | None = None
    times: Mapping[Group, Sequence[Timed]] = field(default_factory=dict)
    counts: Sequence[Counted] = ()
    tallies: Sequence[Tally] = ()
    wrong: Sequence[Wrong] = ()
    sizes: Sequence[CacheSize] = ()
    stages: Sequence[StageRow] = ()
    measured: Sequence[Measured] = ()


def read_history(db: sqlite3.Connection, window: Window) -> History:
    """The history of a window. Its `last` counts builds that were no measurements, and leaves these as they are."""
    (recorded,) = db.execute("SELECT COUNT(*) FROM builds").fetchone()
    measured = _measured(db, window.after)
    meant = (_start(db, window), MEASURING)
    builds, failed, first, latest = db.execute(
        f"SELECT COUNT(*), SUM(ok = 0), MIN(began), MAX(began) FROM builds WHERE {MEANT}", meant
    ).fetchone()
    if not builds:
        return History(recorded, measured=measured)
    return History(
        recorded,
        builds,
        failed,
        first,
        latest,
        times=_times(db, meant),
        counts=_counts(db, meant),
        tallies=_tallies(db, meant),
        wrong=_wrong(db, meant),
        sizes=read_sizes(db, meant[0]),
        stages=_stages(db, (_start(db, Window(meant[0], STAGE_BUILDS)), MEASURING)),
        measured=measured,
    )


#: That a build is in the window (when that begins, and the command of measurements, are given).
MEANT = "began >= ? AND command <> ?"
#: The images with their builds. In this order SQLite goes through both as they lie in the file.
JOINED = f"images i CROSS JOIN builds b ON b.id = i.build WHERE i.variant = '' AND b.{MEANT}"
_Meant = tuple[float, str]


def _start(db: sqlite3.Connection, window: Window) -> float:
    """When the first build of a window began; measurements are not counted."""
    if window.last is None:
        return window.after
    row = db.execute(
        f"SELECT began FROM builds WHERE {MEANT} ORDER BY began DESC LIMIT 1 OFFSET ?",
        (window.after, MEASURING, max(window.last, 1) - 1),
    ).fetchone()
    return float(row[0]) if row else window.after


def _times(db: sqlite3.Connection, meant: _Meant) -> dict[Group, list[Timed]]:
    found: dict[tuple[str, str, str, str], list[Timed]] = defaultdict(list)
    for service, profile, way, kind, began, seconds, build in db.execute(
        "SELECT i.service, i.profile, b.way, i.kind, b.began, i.seconds, b.id"
        f" FROM {JOINED} AND b.ok AND i.seconds NOT NULL",
        meant,
    ):
        found[service, profile, way, kind].append(Timed(began, seconds, build))
    return {Group(*place): sorted(some) for place, some in found.items()}


def _counts(db: sqlite3.Connection, meant: _Meant) -> list[Counted]:
    found = db.execute(
        "SELECT i.service, COUNT(*), SUM(b.ok = 0), SUM(i.cached), SUM(i.ran),"
        f" SUM(i.predicted <> '' AND i.verdict <> '') FROM {JOINED} GROUP BY i.service ORDER BY i.service",
        meant,
    )
    return list(map(Counted._make, found))


def _tallies(db: sqlite3.Connection, meant: _Meant) -> list[Tally]:
    found = db.execute(
        "SELECT service, profile, kind, file, cause, COUNT(*), COUNT(seconds), TOTAL(seconds), MAX(build)"
        " FROM images WHERE variant = '' AND kind NOT IN ('', 'IGNORED') AND (file <> '' OR cause <> '')"
        # grouped by what differs most first: fewer comparisons
        f" AND build IN (SELECT id FROM builds WHERE {MEANT}) GROUP BY file, cause, kind, service, profile",
        meant,
    )
    return list(map(Tally._make, found))


def _wrong(db: sqlite3.Connection, meant: _Meant) -> list[Wrong]:
    found = db.execute(
        "SELECT b.id, b.began, i.service, i.profile, i.kind, i.file, i.cause, i.predicted, i.verdict"
        f" FROM {JOINED} AND i.predicted <> i.verdict AND i.predicted <> '' AND i.verdict <> ''"
        " ORDER BY b.began DESC, b.id DESC",
        meant,
    )
    return list(map(Wrong._make, found))


def read_sizes(db: sqlite3.Connection, start: float) -> list[CacheSize]:
    """The first and the last reading of each size, and of both, since then."""
    meant: _Meant = (start, MEASURING)
    found = set()
    for read in ("cache_layers NOT NULL", "cache_mounts NOT NULL", "cache_layers + cache_mounts NOT NULL"):
        for order in ("ASC", "DESC"):
            found |= set(
                db.execute(
                    f"SELECT began, id, cache_layers, cache_mounts FROM builds WHERE {MEANT} AND {read}"
                    f" ORDER BY began {order}, id {order} LIMIT 1",
                    meant,
                )
            )
    return [CacheSize(began, layers, mounts) for began, _id, layers, mounts in sorted(found)]


def _stages(db: sqlite3.Connection, meant: _Meant) -> list[StageRow]:
    found = db.execute(
        "SELECT b.id, s.service, s.stage, SUM(s.seconds) FROM builds b CROSS JOIN steps s ON s.build = b.id"
        f" WHERE b.{MEANT} AND b.ok AND s.cached = 0 AND s.service <> '' AND s.stage <> ''"
        " GROUP BY b.id, s.service, s.stage ORDER BY b.began, b.id, MIN(s.rowid)",
        meant,
    )
    return [StageRow(*row) for row in found]


def _measured(db: sqlite3.Connection, after: float) -> list[Measured]:
    found = db.execute(
        "SELECT b.began, b.ok, b.seconds, i.service, i.scenario, i.variant, i.seconds, b.run"
        " FROM images i CROSS JOIN builds b ON b.id = i.build"
        " WHERE i.variant <> '' AND b.began >= ? ORDER BY b.began, b.id",
        (after,),
    )
    return list(map(Measured._make, found))
