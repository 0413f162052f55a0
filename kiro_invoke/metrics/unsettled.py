"""Close a database without settling its log: what the last one to leave does otherwise, waiting for the disk."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Bytes of the file that every connection holds a lock on while it is open (SQLite's file format, os.h).
_SHARED_FIRST, _SHARED_SIZE = 0x4000_0000 + 2, 510


@contextmanager
def unsettled(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Inside, `db` is closed at the end as if others still had the file open: its log stays, whole, for the next one.

    No other connection of this process may be open. Where it is not possible the log is settled: that is only slower.
    """
    no_checkpoint = getattr(sqlite3, "SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE", None)
    if no_checkpoint is not None and hasattr(db, "setconfig"):  # from Python 3.12 on
        db.setconfig(no_checkpoint, True)
        yield
        return
    # Before that, a lock like one that a connection of another process holds: one of an open file, not of a process.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError, AttributeError):
            lock = struct.pack("hhqqi", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
        yield
    finally:
        db.close()  # first: whoever closes a file gives up all of this process's locks on it
        os.close(file)
