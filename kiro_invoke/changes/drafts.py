"""New files of a mirror: made beside it, hashed as they are written, and moved in whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count

from kiro_invoke.changes.snapshot import CHUNK, LATEST, Entry, digest
from kiro_invoke.model.errors import ConfigError

#: Linux's FICLONE: the file system shares the content's blocks instead of copying them.
_CLONE = 0x40049409
_WORTH_CLONING = 128 * 1024
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Steps of a file system's clock (nanoseconds), up to FAT's two seconds.
_TICKS = (1, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
_DAY = 86_400_000_000_000


@dataclass
class Drafts:
    """Drafts in the folder `fd` is open on, for a mirror that `tree` is open on, all with the time `stamp`.

    `mirrored` holds what lies unharmed in the mirror already: a file with the same content needs no draft.
    """

    fd: int
    tree: int
    stamp: int
    mirrored: Mapping[str, Entry]
    names: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)
    _clones: bool = True

    def read(self, file: int, path: str, status: os.stat_result) -> bytes:
        """Hash a source file; if the mirror does not have its content, write just what was hashed (snapshot.Read)."""
        self._forget(path)
        old = self.mirrored.get(path)
        if old is not None and old.kind != "l" and old.size == status.st_size:
            value = digest(file, path, status)
            if value == old.value and _attributes(file) == self._mirrored_attributes(path):
                return value
            os.lseek(file, 0, os.SEEK_SET)
        try:
            return self._write(file, path, status)
        except _ReadFailed as failed:
            raise failed.error from None
        except OSError as error:
            raise unwritable(error, path) from None

    def write(self, path: str, mode: int, content: bytes) -> None:
        """Write a draft of a file that has no source."""
        with self._draft(path, mode) as draft:
            _write_all(draft, content)

    def install(self, path: str, entry: Entry) -> Entry:
        """Move the draft of a file, or a new link, to its place; the entry of what lies there then."""
        if entry.kind == "l":
            self._forget(path)  # a file that became a link after it was read
            os.symlink(os.fsdecode(entry.value), self._name(path), dir_fd=self.fd)
            os.utime(self._name(path), ns=(self.stamp, self.stamp), dir_fd=self.fd, follow_symlinks=False)
        os.rename(self.names.pop(path), path, src_dir_fd=self.fd, dst_dir_fd=self.tree)
        return self.retouch(path, entry, is_new=True)

    def retouch(self, path: str, entry: Entry, *, is_new: bool = False) -> Entry:
        """Give a file of the mirror the source's mode, and a fresh time."""
        status = os.lstat(path, dir_fd=self.tree)
        if entry.kind != "l" and stat.S_IMODE(status.st_mode) != entry.mode:
            os.chmod(path, entry.mode, dir_fd=self.tree)
        elif is_new:
            return _as_mirrored(entry, status)
        os.utime(path, ns=(self.stamp, self.stamp), dir_fd=self.tree, follow_symlinks=False)
        return _as_mirrored(entry, os.lstat(path, dir_fd=self.tree))

    def _write(self, file: int, path: str, status: os.stat_result) -> bytes:
        with self._draft(path, stat.S_IMODE(status.st_mode)) as draft:
            value = self._copy(file, draft, status.st_size)
            _give_attributes(file, draft)
        return value

    @contextmanager
    def _draft(self, path: str, mode: int) -> Iterator[int]:
        draft = os.open(self._name(path), _NEW, 0o600, dir_fd=self.fd)
        try:
            yield draft
            os.fchmod(draft, mode)
            os.utime(draft, ns=(self.stamp, self.stamp))
        finally:
            os.close(draft)

    def _name(self, path: str) -> str:
        if path not in self.names:
            self.names[path] = str(next(self._numbers))
        return self.names[path]

    def _forget(self, path: str) -> None:
        if name := self.names.pop(path, None):
            os.unlink(name, dir_fd=self.fd)

    def _copy(self, file: int, draft: int, size: int) -> bytes:
        if size >= _WORTH_CLONING and self._clone(file, draft):
            return digest(draft, "", os.fstat(draft))
        hashed = hashlib.sha256()
        while data := _read(file):
            hashed.update(data)
            _write_all(draft, data)
        return hashed.hexdigest().encode()

    def _clone(self, file: int, draft: int) -> bool:
        if self._clones:
            try:
                fcntl.ioctl(draft, _CLONE, file)
            except OSError:
                self._clones = False
        return self._clones

    def _mirrored_attributes(self, path: str) -> dict[str, bytes]:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.tree)
        try:
            return _attributes(file)
        finally:
            os.close(file)


def fresh_stamp(fd: int, now: int, newest: int, strange: Sequence[int] = ()) -> int | None:
    """A time (nanoseconds) that files in the folder `fd` is open on can have, after `newest`, and not before `now`.

    Asked of the file system: many keep less than nanoseconds. Also after the `strange` times; where that cannot be
    (they are at the end of what can be kept), after those of them that are no more than a day ahead. None if there
    is no such time.
    """
    likely = [time for time in strange if time <= now + _DAY]
    probe = os.open("stamp", _NEW, 0o600, dir_fd=fd)
    try:
        after_all = _time_after(probe, now, max((newest, *strange)))
        return after_all or _time_after(probe, now, max((newest, *likely)))
    finally:
        os.close(probe)
        os.unlink("stamp", dir_fd=fd)


def _time_after(probe: int, now: int, newest: int) -> int | None:
    for tick in _TICKS:
        wanted = max(now, newest + tick)
        if wanted > LATEST:
            break
        os.utime(probe, ns=(wanted, wanted))
        stamp = os.fstat(probe).st_mtime_ns
        if stamp > newest:
            return stamp
    return None


def unwritable(error: OSError | NotImplementedError, place: str) -> ConfigError:
    """The error for a mirror that cannot be written, at `place`."""
    return ConfigError(
        f"it cannot be mirrored for the build: {getattr(error, 'strerror', None) or error}",
        file=place,
        fix="see that the state folder .kiro can be written, and that there is room",
    )


class _ReadFailed(Exception):
    """The source could not be read, while a draft was written."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error


def _read(file: int) -> bytes:
    try:
        return os.read(file, CHUNK)
    except OSError as error:
        raise _ReadFailed(error) from None


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _as_mirrored(entry: Entry, status: os.stat_result) -> Entry:
    return entry._replace(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
    )


def _attributes(file: int) -> dict[str, bytes]:
    """Extended attributes: they are part of a context, and of a layer's key."""
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file)}
    except OSError:  # the file system has none
        return {}


def _give_attributes(file: int, draft: int) -> None:
    wanted, there = _attributes(file), _attributes(draft)
    for name, value in wanted.items():
        with suppress(OSError):  # such as security.*: root only
            if there.get(name) != value:
                os.setxattr(draft, name, value)
    for name in there.keys() - wanted.keys():
        with suppress(OSError):
            os.removexattr(draft, name)
