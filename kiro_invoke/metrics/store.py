"""The metrics store: every build, in one SQLite file. Several processes may write at once."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import astuple, fields
from pathlib import Path

from kiro_invoke.engine.files import refuse_links
from kiro_invoke.metrics.details import Details, read_details
from kiro_invoke.metrics.entry import BuildRow, CacheSize, Entry, ImageEntry, ImageRow, StageRow, Window
from kiro_invoke.metrics.history import History, read_history, read_sizes
from kiro_invoke.metrics.schema import VERSION, migrate, version_of
from kiro_invoke.metrics.unsettled import unsettled
from kiro_invoke.model.errors import KiroError
from kiro_invoke.model.record import Step

FILE = "metrics.sqlite"
#: Seconds that a writer waits for another one.
_PATIENCE = 2.0
#: Causes, messages and instructions may hold anything of any length.
_LONGEST = 500
_COMPANIONS = ("", "-wal", "-shm")
#: How much writers may leave in the log: whoever opens it first reads all of it.
_LEFT_BYTES = 1_000_000
#: One connection at a time: a file's locks belong to the process, and whoever closes it gives all of them up.
_ONE = threading.Lock()
#: What SQLite says of a file that is no database, or a damaged one. Anything else (a full disk, a lock) is no reason
#: to give a file up.
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

#: Every build.
ALL = Window()

_IMAGE_COLUMNS = tuple(field.name for field in fields(ImageEntry))
_STEP_COLUMNS = ("service", "stage", "text", "cached", "seconds", "started", "completed")
_BUILD_COLUMNS = tuple(field.name for field in fields(BuildRow))[1:]
_WRITTEN = (*_BUILD_COLUMNS, "engine", "tool", "ref", "run")


class StoreError(KiroError):
    """The store cannot be read or written. Builds go on without it."""


class _SetAside(StoreError):
    """It was damaged, and is a new one now."""


class Store:
    """The store of one state folder. `say` is told when a damaged file is set aside."""

    def __init__(
        self, state: Path, say: Callable[[str], None], *, now: Callable[[], float] = time.time
    ) -> None:
        self.path = state / FILE
        self._say = say
        self._now = now

    def prepare(self) -> None:
        """Do beforehand what waits for the disk: take in what writers left, begin the log. Trouble is left to `add`."""
        with suppress(KiroError, OSError):
            log = Path(f"{self.path}-wal")
            left = log.stat().st_size if log.exists() else 0
            if left > _LEFT_BYTES:
                with self._opened():
                    pass
            if not 0 < left <= _LEFT_BYTES:
                with self._opened(quickly=True) as db, _transaction(db):
                    # the same as before: the first that is written to a new log waits for the disk
                    db.execute(f"PRAGMA user_version = {version_of(db)}")

    def add(self, entries: Sequence[Entry], *, keep_seconds: float | None = None) -> None:
        """Remember builds, and forget those that are older than `keep_seconds`. StoreError if that is not possible.

        One that was made outside and is known already is passed over.
        """
        try:
            self._add(entries, keep_seconds)
        except _SetAside:
            self._add(entries, keep_seconds)

    def _add(self, entries: Sequence[Entry], keep_seconds: float | None) -> None:
        with self._opened(quickly=True) as db, _transaction(db):
            for entry in entries:
                _insert(db, entry)
            if keep_seconds is not None:
                db.execute("DELETE FROM builds WHERE began < ?", (self._now() - keep_seconds,))

    def known_refs(self) -> frozenset[str]:
        """The builds made outside that are here already."""
        with self._opened() as db:
            return frozenset(row[0] for row in db.execute("SELECT ref FROM builds WHERE ref <> ''"))

    def builds(self, window: Window = ALL) -> tuple[BuildRow, ...]:
        """The builds of a window, oldest first."""
        columns = ", ".join(_BUILD_COLUMNS)
        with self._opened() as db:
            found = db.execute(
                f"SELECT id, {columns} FROM builds WHERE {_IN} ORDER BY began, id", _first(db, window)
            )
            return tuple(
                BuildRow(id, began, seconds, command, bool(ok), *rest)
                for id, began, seconds, command, ok, *rest in found
            )

    def images(self, window: Window = ALL) -> tuple[ImageRow, ...]:
        """The images of a window's builds, oldest first."""
        columns = ", ".join(f"i.{name}" for name in _IMAGE_COLUMNS)
        with self._opened() as db:
            found = db.execute(
                f"SELECT b.id, b.began, b.ok, b.command, b.way, {columns}"
                f" FROM builds b JOIN images i ON i.build = b.id WHERE {_IN} ORDER BY b.began, b.id, i.rowid",
                _first(db, window),
            )
            return tuple(
                ImageRow(id, began, bool(ok), command, way, ImageEntry(*image))
                for id, began, ok, command, way, *image in found
            )

    def stages(self, window: Window = ALL) -> tuple[StageRow, ...]:
        """The stages that ran in a window's builds, oldest first."""
        with self._opened() as db:
            found = db.execute(
                "SELECT b.id, s.service, s.stage, SUM(s.seconds) FROM builds b JOIN steps s ON s.build = b.id"
                f" WHERE {_IN} AND s.cached = 0 GROUP BY b.id, s.service, s.stage ORDER BY b.began, b.id, MIN(s.rowid)",
                _first(db, window),
            )
            return tuple(StageRow(*row) for row in found)

    def steps(self, build: int) -> tuple[Step, ...]:
        """The steps of one build, as the engine told them."""
        with self._opened() as db:
            found = db.execute(
                f"SELECT {', '.join(_STEP_COLUMNS)} FROM steps WHERE build = ? ORDER BY rowid", (build,)
            )
            return tuple(
                Step(service, stage, text, bool(cached), *times)
                for service, stage, text, cached, *times in found
            )

    def history(self, window: Window = ALL) -> History:
        """What a report of a window is made from, of one moment."""
        with self._opened() as db, _transaction(db, "BEGIN"):
            return read_history(db, window)

    def sizes(self, after: float) -> tuple[CacheSize, ...]:
        """What the engine's cache held at the first and at the last build since then, as far as it was read."""
        with self._opened() as db:
            return tuple(read_sizes(db, after))

    def details(self, history: History, builds: Sequence[int]) -> Details:
        """What the charts of a history tell besides; `builds` are those whose causes are told."""
        with self._opened() as db, _transaction(db, "BEGIN"):
            return read_details(db, history, builds)

    @contextmanager
    def _opened(self, *, quickly: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection, the only one of this process. `quickly`: what was written is left in the log at the end."""
        try:
            with _ONE, closing(self._open()) as db, unsettled(db, self.path) if quickly else nullcontext():
                yield db
        except (sqlite3.Error, OSError) as error:
            if _is_damage(error):
                self._set_aside(error)
                raise _SetAside(f"{self.path.name} was damaged") from None
            raise StoreError(f"{self.path.name}: {error}", fix="see that .kiro/ can be written to") from None

    def _open(self) -> sqlite3.Connection:
        """The file, made where there is none, and a new one in place of a damaged one."""
        try:
            return _connect(self.path)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
            self._set_aside(error)
            return _connect(self.path)

    def _set_aside(self, error: Exception) -> None:
        """A damaged file is kept for whoever can read it, in nobody's way; not where another process saw to it."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{int(self._now())}-{os.getpid()}")
        lock = os.open(self.path.with_name(f"{FILE}-aside"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_sound(self.path):
                return
            for end in reversed(_COMPANIONS):  # the log first: a new file must not find it
                with suppress(FileNotFoundError):
                    Path(f"{self.path}{end}").rename(f"{aside}{end}")
        finally:
            os.close(lock)
        self._say(f"the history of builds was damaged ({error}): begun anew, the old file is {aside.name}")


#: The condition that a build is in a window (see _first).
_IN = "began >= ?"


def _first(db: sqlite3.Connection, window: Window) -> tuple[float]:
    """When the first build of a window began."""
    if window.last is None:
        return (window.after,)
    row = db.execute(
        "SELECT began FROM builds WHERE began >= ? ORDER BY began DESC LIMIT 1 OFFSET ?",
        (window.after, max(window.last, 1) - 1),
    ).fetchone()
    return (row[0] if row else window.after,)


def _connect(path: Path) -> sqlite3.Connection:
    refuse_links(path.parent)
    # what builds print may be secret: the file is for its owner alone
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    if path.is_symlink():
        raise StoreError(f"{path.name} is a link", fix="remove it")
    db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)
    try:
        _use_wal(db)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        if version_of(db) > VERSION:
            raise StoreError(
                f"{path.name} was written by a newer kiro-invoke", fix="upgrade, or move the file away"
            )
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _is_sound(path: Path) -> bool:
    """Whether a file can be read from end to end: somebody else may have put a new one in a damaged one's place."""
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.Error:
        return False


def _use_wal(db: sqlite3.Connection) -> None:
    """The file may be new to several processes at once, and for this one change SQLite does not wait."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    db.execute(begin)
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _insert(db: sqlite3.Connection, entry: Entry) -> None:
    values = [_short(getattr(entry, name)) for name in _WRITTEN]
    made = db.execute(
        f"INSERT OR IGNORE INTO builds ({', '.join(_WRITTEN)}) VALUES ({_marks(_WRITTEN)})", values
    )
    if made.rowcount == 0:
        return
    id = made.lastrowid
    db.executemany(
        f"INSERT INTO images (build, {', '.join(_IMAGE_COLUMNS)}) VALUES (?, {_marks(_IMAGE_COLUMNS)})",
        [(id, *map(_short, astuple(image))) for image in entry.images],
    )
    db.executemany(
        f"INSERT INTO steps (build, {', '.join(_STEP_COLUMNS)}) VALUES (?, {_marks(_STEP_COLUMNS)})",
        [(id, *(_short(getattr(step, name)) for name in _STEP_COLUMNS)) for step in entry.steps],
    )


def _marks(columns: Sequence[str]) -> str:
    return ", ".join("?" * len(columns))


def _short(value: object) -> object:
    """Texts of a bounded length, in an encoding that SQLite takes: a file's name may be any bytes."""
    if isinstance(value, str):
        return value[:_LONGEST].encode("utf-8", "replace").decode()
    return value


def _is_damage(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in _DAMAGED
