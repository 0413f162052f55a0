"""What a folder holds, by content: only files whose size, times or inode moved are read again."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kiro_invoke.changes.context import GONE, IGNORE_FILE, Folder, Rules, unreadable, walk
from kiro_invoke.model.errors import ConfigError

#: A hint this young (nanoseconds) is not trusted. A second edit within the clock's tick would not move it, and a
#: program that has the file mapped can write to the same page again, unseen, until the kernel has written that page
#: back: within 30 seconds, looked for every 5.
RACY_NS = 40_000_000_000
CHUNK = 1 << 20
#: No file's: an entry with it is read again.
UNTRUSTED = -1
#: The latest time (nanoseconds, in the year 2262) that is stored.
LATEST = (1 << 63) - 1
#: How often a file is read in one look that changes meanwhile. What was read last is read again in the next look.
_TRIES = 3
#: How often a folder is looked through until it rests, and the seconds by which each pause but the first grows.
_LOOKS = 10
_PAUSE = 0.02
#: What a file or link answers with that has just become something else.
_MOVED = GONE | {errno.EINVAL, errno.ENXIO}
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: Reads an open file to its end: (descriptor, path in the folder, its status) -> lowercase hex SHA-256.
Read = Callable[[int, str, os.stat_result], bytes]


class Entry(NamedTuple):
    """A file or link, and the hints that tell whether it was touched since it was read.

    `kind` is `f`, `x` (a file with any executable bit) or `l`; `value` the hex SHA-256 of the content, or the
    link's text; `mode` the permission bits. Times in nanoseconds.
    """

    kind: str
    value: bytes
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    def is_like(self, status: os.stat_result) -> bool:
        """Whether nothing was touched since: the content need not be read."""
        return (
            self.mtime_ns == status.st_mtime_ns
            and self.ctime_ns == status.st_ctime_ns
            and self.size == status.st_size
            and self.inode == status.st_ino
        )

    @property
    def what(self) -> tuple[str, bytes, int]:
        """All of it that a build can see."""
        return self.kind, self.value, self.mode


@dataclass(frozen=True)
class Snapshot:
    """A folder's files and links by path, its folders with their permission bits, and its revision."""

    entries: Mapping[str, Entry]
    folders: Mapping[str, int]
    revision: str

    @property
    def contents(self) -> dict[str, object]:
        """All that a build gets, by path; a folder's ends with `/`."""
        found: dict[str, object] = {path: entry.what for path, entry in self.entries.items()}
        found.update({f"{path}/": mode for path, mode in self.folders.items()})
        return found


NOTHING = Snapshot({}, {}, "")


def scan(
    folder: Path,
    rules: Rules,
    previous: Snapshot,
    now: int,
    *,
    skip: Path | None = None,
    read: Read | None = None,
) -> Snapshot:
    """The folder as it stood at one moment; `previous` itself if nothing was touched. `now`: the clock, nanoseconds.

    Files may be replaced while others are read, so it is looked through until two looks agree; the second reads
    only what moved since the first. ConfigError for a file that cannot be read, and for a folder that never rests.
    """
    known, modes = previous.entries, previous.folders
    fresh: set[str] = set()
    for number in range(_LOOKS):
        entries, folders, touched = _look_through(folder, rules, known, skip, read or digest)
        # what the first look read is of a later moment than the rest, even if it holds the same
        moved = [path for path in touched if not number or not _rests(known.get(path), entries.get(path))]
        fresh.update(touched)
        if not moved and len(entries) == len(known) and folders == modes:
            break
        known, modes = entries, folders
        time.sleep(_PAUSE * number)
    else:
        raise _restless(folder, moved)
    if known is previous.entries and previous.revision:
        return previous
    for path in fresh & entries.keys():
        entries[path] = as_trusted(entries[path], now)
    return Snapshot(entries, folders, revision(entries))


def _look_through(
    folder: Path, rules: Rules, known: Mapping[str, Entry], skip: Path | None, read: Read
) -> tuple[dict[str, Entry], dict[str, int], list[str]]:
    """Entries and folders, and the paths that are not as they were `known`: those were read, or are gone."""
    entries: dict[str, Entry] = {}
    folders: dict[str, int] = {}
    touched: list[str] = []
    for here in walk(folder, rules, skip=skip):
        prefix = here.prefix
        if here.path:
            folders[here.path] = here.mode
        for name, status in here.entries:
            path = prefix + name
            old = known.get(path)
            if (  # is_like, without the call: this is the hot loop
                old is not None
                and old.mtime_ns == status.st_mtime_ns
                and old.ctime_ns == status.st_ctime_ns
                and old.size == status.st_size
                and old.inode == status.st_ino
            ):
                entries[path] = old
                continue
            touched.append(path)
            fresh = read_entry(folder, here, name, status, read)
            if fresh is not None:
                entries[path] = fresh
    return entries, folders, touched


def revision(entries: Mapping[str, Entry]) -> str:
    """The hash of a tree: each path with its kind and value, in bytewise order of the paths."""
    records = [
        b"%b\0%b%b\0" % (path, entry.kind.encode(), entry.value)
        for path, entry in sorted((os.fsencode(path), entry) for path, entry in entries.items())
    ]
    return f"kiro-revision-{hashlib.sha256(b''.join(records)).hexdigest()}"


def digest(file: int, _path: str, _status: os.stat_result) -> bytes:
    """The hex SHA-256 of an open file's content."""
    hashed = hashlib.sha256()
    while data := os.read(file, CHUNK):
        hashed.update(data)
    return hashed.hexdigest().encode()


def entry_of(status: os.stat_result, value: bytes) -> Entry:
    """The entry of a file or link with that status."""
    mode = stat.S_IMODE(status.st_mode)
    kind = "l" if stat.S_ISLNK(status.st_mode) else "x" if mode & 0o111 else "f"
    return Entry(kind, value, mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def read_entry(root: Path, here: Folder, name: str, status: os.stat_result, read: Read) -> Entry | None:
    """Read one file or link; None if it is gone. One that never stood still meanwhile is not trusted."""
    path = here.prefix + name
    for left in reversed(range(_TRIES)):
        try:
            if stat.S_ISLNK(status.st_mode):
                value = os.fsencode(os.readlink(name, dir_fd=here.fd))
                before, after = status, os.lstat(name, dir_fd=here.fd)
            elif stat.S_ISREG(status.st_mode):
                value, before, after = _content(here.fd, name, path, read)
            else:
                return None
        except OSError as error:
            if error.errno not in _MOVED or not (left or error.errno in GONE):
                raise unreadable(root / path, error) from None
            try:
                status = os.lstat(name, dir_fd=here.fd)
            except FileNotFoundError:
                return None
            continue
        entry = entry_of(after, value)
        if entry.is_like(before):
            return entry
        if not left:
            return entry._replace(ctime_ns=UNTRUSTED)
        status = after
    return None


def _content(fd: int, name: str, path: str, read: Read) -> tuple[bytes, os.stat_result, os.stat_result]:
    """A file's hash, and its status before and after it was read."""
    file = os.open(name, _FILE, dir_fd=fd)
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return read(file, path, before), before, os.fstat(file)
    finally:
        os.close(file)


def as_trusted(entry: Entry, now: int) -> Entry:
    """The entry of a file that was just read, its hints void if they are too young to be trusted."""
    is_racy = entry.ctime_ns > now - RACY_NS or abs(entry.mtime_ns - now) < RACY_NS
    return entry._replace(ctime_ns=UNTRUSTED) if is_racy else entry


def _rests(before: Entry | None, after: Entry | None) -> bool:
    """Whether a file that was read in two looks is the same in both.

    It is read twice without cause where a listing tells other hints than the open file does.
    """
    return after is not None and after == before and after.ctime_ns != UNTRUSTED


def _restless(folder: Path, moved: list[str]) -> ConfigError:
    name = folder.resolve().name or str(folder)
    return ConfigError(
        f"the sources of {name} keep changing",
        file=str(folder / min(moved, default="")),
        fix=f"build again when they rest, or name in {IGNORE_FILE} what no build needs",
    )
