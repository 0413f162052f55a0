"""Look again at a few paths of a folder that is known: what an event named, without walking all of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from kiro_invoke.changes.context import GONE, SENT, Folder, Rules
from kiro_invoke.changes.snapshot import Entry, Snapshot, as_trusted, digest, read_entry, scan

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def rescan(
    folder: Path,
    rules: Rules,
    previous: Snapshot,
    paths: Iterable[str],
    now: int,
    *,
    skip: Path | None = None,
) -> Snapshot:
    """The snapshot with these files, by path in the folder, as they are now; all others as they were in `previous`.

    `previous` itself if none of them changed; another one has no revision (""). Where more than files has changed, a
    folder that came, went or is named, all is scanned. `rules` are those of `previous`. ConfigError as `scan` has it.
    """
    whole = partial(scan, folder, rules, previous, now, skip=skip)
    found: dict[str, Entry | None] = {}
    for path in dict.fromkeys(paths):
        parent, _, name = path.rpartition("/")
        if parent and (parent not in previous.folders or not rules.lets_through(parent)):
            return whole()
        if path in previous.folders or name in ("", ".", ".."):
            return whole()
        fd = _opened(folder, parent)
        if fd is None:
            return whole()
        try:
            status = _status(fd, name)
            if status is not None and stat.S_ISDIR(status.st_mode):
                return whole()
            found[path] = _entry(folder, Folder(parent, fd, 0, []), name, status, previous, rules)
        except OSError:  # which a scan can tell of
            return whole()
        finally:
            os.close(fd)
    return _with(previous, found, now)


def _opened(root: Path, parent: str) -> int | None:
    """A folder within `root`, opened without following any link; None if there is none."""
    try:
        fd = os.open(root, _FOLDER & ~os.O_NOFOLLOW)
    except OSError:
        return None
    for name in filter(None, parent.split("/")):
        try:
            inner = os.open(name, _FOLDER, dir_fd=fd)
        except OSError:
            return None
        finally:
            os.close(fd)
        fd = inner
    return fd


def _status(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=fd)
    except OSError as error:
        if error.errno in GONE:
            return None
        raise


def _entry(
    root: Path, here: Folder, name: str, status: os.stat_result | None, previous: Snapshot, rules: Rules
) -> Entry | None:
    path = here.prefix + name
    if status is None or stat.S_IFMT(status.st_mode) not in SENT or not rules.lets_through(path):
        return None
    old = previous.entries.get(path)
    return old if old is not None and old.is_like(status) else read_entry(root, here, name, status, digest)


def _with(previous: Snapshot, found: dict[str, Entry | None], now: int) -> Snapshot:
    fresh = {
        path: entry for path, entry in found.items() if _what(previous.entries.get(path)) != _what(entry)
    }
    if not fresh:
        return previous
    entries = dict(previous.entries)
    for path, entry in fresh.items():
        if entry is None:
            del entries[path]
        else:
            entries[path] = as_trusted(entry, now)
    return Snapshot(entries, previous.folders, "")


def _what(entry: Entry | None) -> object:
    return entry and entry.what
