"""What a folder holds, by content: only files whose size, times or inode moved are read again."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kiro_invoke.changes.context import GONE, Folder, Rules, unreadable, walk

#: A hint this young (nanoseconds) is not trusted: a second edit within the clock's tick would not move it.
RACY_NS = 2_000_000_000
CHUNK = 1 << 20
#: No file's: an entry with it is read again.
UNTRUSTED = -1
#: How often a file is read that changes meanwhile. What was read last is taken, and not trusted.
_TRIES = 3
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
    """The folder as it is now; `previous` itself if nothing was touched. `now` is the clock, in nanoseconds.

    ConfigError for a file that cannot be read. What vanishes meanwhile is left out.
    """
    known, entries, folders = previous.entries, {}, {}
    was_read = False
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
            was_read = True
            fresh = _look(folder, here, name, status, now, read or digest)
            if fresh is not None:
                entries[path] = fresh
    if not was_read and len(entries) == len(known) and folders == previous.folders and previous.revision:
        return previous
    return Snapshot(entries, folders, revision(entries))


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


def _look(root: Path, here: Folder, name: str, status: os.stat_result, now: int, read: Read) -> Entry | None:
    """Read one file or link; None if it is gone."""
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
            if error.errno not in _MOVED or not left:
                raise unreadable(root / path, error) from None
            try:
                status = os.lstat(name, dir_fd=here.fd)
            except FileNotFoundError:
                return None
            continue
        entry = entry_of(after, value)
        if entry.is_like(before) or not left:
            return entry._replace(ctime_ns=UNTRUSTED) if _is_racy(after, now) else entry
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


def _is_racy(status: os.stat_result, now: int) -> bool:
    return status.st_ctime_ns > now - RACY_NS or abs(status.st_mtime_ns - now) < RACY_NS
