"""The tables of the metrics store, each version's as the step from the one before."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

#: Statements that lead from version N to N + 1; the file's `user_version` tells which ones it has had. A step that
#: was released is never changed again.
STEPS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE builds (
            id INTEGER PRIMARY KEY,
            began REAL NOT NULL,
            seconds REAL NOT NULL,
            command TEXT NOT NULL,
            ok INTEGER NOT NULL,
            message TEXT NOT NULL,
            way TEXT NOT NULL,
            engine TEXT NOT NULL,
            tool TEXT NOT NULL,
            cache_layers INTEGER,
            cache_mounts INTEGER,
            context_bytes INTEGER
        )""",
        "CREATE INDEX builds_began ON builds (began)",
        """CREATE TABLE images (
            build INTEGER NOT NULL REFERENCES builds ON DELETE CASCADE,
            service TEXT NOT NULL,
            profile TEXT NOT NULL,
            kind TEXT NOT NULL,
            cause TEXT NOT NULL,
            file TEXT NOT NULL,
            revision TEXT NOT NULL,
            predicted TEXT NOT NULL,
            verdict TEXT NOT NULL,
            seconds REAL,
            cached INTEGER NOT NULL,
            ran INTEGER NOT NULL
        )""",
        "CREATE INDEX images_build ON images (build)",
        """CREATE TABLE steps (
            build INTEGER NOT NULL REFERENCES builds ON DELETE CASCADE,
            service TEXT NOT NULL,
            stage TEXT NOT NULL,
            text TEXT NOT NULL,
            cached INTEGER NOT NULL,
            seconds REAL NOT NULL,
            started REAL NOT NULL,
            completed REAL NOT NULL
        )""",
        "CREATE INDEX steps_build ON steps (build)",
    ),
    (
        # measurements, and builds that were made outside
        "ALTER TABLE images ADD COLUMN variant TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE images ADD COLUMN scenario TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE builds ADD COLUMN ref TEXT NOT NULL DEFAULT ''",
        "CREATE UNIQUE INDEX builds_ref ON builds (ref) WHERE ref <> ''",
    ),
    (
        # to which measurement a build belongs
        "ALTER TABLE builds ADD COLUMN run TEXT NOT NULL DEFAULT ''",
    ),
)
VERSION = len(STEPS)


def version_of(db: sqlite3.Connection) -> int:
    """Which version's tables a file holds; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection) -> None:
    """Bring a file's tables up to date, in one transaction: another process may be at it too."""
    if version_of(db) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in STEPS[version_of(db) :]:  # asked again: somebody else may have done it while we waited
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
