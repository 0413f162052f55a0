"""Bring a mirrored tree to what a snapshot says: what is to be done, decided purely, and its doing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.changes.context import Rules, walk
from kiro_invoke.changes.drafts import Drafts
from kiro_invoke.changes.snapshot import Entry, Snapshot

_WRITABLE = 0o700
_EVERY_KIND = frozenset(range(0, 0o200000, 0o10000))


@dataclass(frozen=True)
class Standing:
    """What lies in a mirror: entries just as they were left, strange ones, folders with their modes.

    `times` are those of the strange entries (nanoseconds).
    """

    intact: frozenset[str]
    strange: tuple[str, ...]
    folders: dict[str, int]
    times: tuple[int, ...]


@dataclass(frozen=True)
class Work:
    """What is to be done, each in this order. `make_writable` are folders that must be opened for it first."""

    make_writable: tuple[str, ...]
    unlink: tuple[str, ...]
    rmdir: tuple[str, ...]
    mkdir: tuple[str, ...]
    install: tuple[str, ...]
    retouch: tuple[str, ...]
    modes: tuple[tuple[str, int], ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """The paths of entries that are written or removed, sorted."""
        return tuple(sorted({*self.unlink, *self.install, *self.retouch}))


def look(folder: Path, copies: Snapshot) -> Standing:
    """What stands in the mirror against `copies`, the entries as the last refresh left them."""
    intact: list[str] = []
    strange: list[str] = []
    folders: dict[str, int] = {}
    times: list[int] = []
    known = copies.entries
    for here in walk(folder, Rules(), kinds=_EVERY_KIND):
        prefix = here.prefix
        if here.path:
            folders[here.path] = here.mode
        for name, status in here.entries:
            path = prefix + name
            copy = known.get(path)
            if copy is not None and copy.is_like(status):
                intact.append(path)
            else:
                strange.append(path)
                times.append(status.st_mtime_ns)
    return Standing(frozenset(intact), tuple(strange), folders, tuple(times))


def plan(wanted: Snapshot, mirrored: Snapshot, standing: Standing, drafts: Collection[str]) -> Work:
    """What makes the mirror equal to `wanted`. `mirrored`: what is intact in it; `drafts`: files written anew."""
    changed = [
        (path, mirrored.entries.get(path))
        for path, entry in wanted.entries.items()
        if entry is not mirrored.entries.get(path)
    ]
    install = [path for path, old in changed if _needs_writing(wanted.entries[path], old) or path in drafts]
    written = frozenset(install)
    retouch = [
        path
        for path, old in changed
        if path not in written and old is not None and old.mode != wanted.entries[path].mode
    ]
    unlink = [path for path in (*standing.intact, *standing.strange) if path not in wanted.entries]
    rmdir = [path for path in standing.folders if path not in wanted.folders]
    mkdir = [path for path in wanted.folders if path not in standing.folders]
    touched = {path.rpartition("/")[0] for path in (*install, *unlink, *rmdir, *mkdir)}
    locked = [
        path for path, mode in standing.folders.items() if mode & _WRITABLE != _WRITABLE and path in touched
    ]
    modes = [
        (path, mode)
        for path, mode in wanted.folders.items()
        if standing.folders.get(path) != mode or path in locked
    ]
    return Work(
        make_writable=tuple(sorted(locked)),
        unlink=tuple(unlink),
        rmdir=tuple(sorted(rmdir, reverse=True)),
        mkdir=tuple(sorted(mkdir)),
        install=tuple(install),
        retouch=tuple(retouch),
        modes=tuple(sorted(modes, reverse=True)),
    )


def carry_out(work: Work, wanted: Snapshot, copies: Snapshot, drafts: Drafts) -> Snapshot:
    """Do the work; the mirror's own entries after it, as the next `look` is to find them."""
    tree = drafts.tree
    for path in work.make_writable:
        os.chmod(path, _WRITABLE, dir_fd=tree)
    for path in work.unlink:
        os.unlink(path, dir_fd=tree)
    for path in work.rmdir:
        os.rmdir(path, dir_fd=tree)
    for path in work.mkdir:
        os.mkdir(path, _WRITABLE, dir_fd=tree)
    fresh = {path: drafts.install(path, wanted.entries[path]) for path in work.install}
    fresh |= {path: drafts.retouch(path, wanted.entries[path]) for path in work.retouch}
    for path, mode in work.modes:
        os.chmod(path, mode, dir_fd=tree)
    if not work.changed:
        return copies
    return Snapshot(dict(_left(wanted, copies, fresh)), {}, "")


def _left(wanted: Snapshot, copies: Snapshot, fresh: dict[str, Entry]) -> Iterable[tuple[str, Entry]]:
    for path in wanted.entries:
        yield path, fresh.get(path) or copies.entries[path]


def _needs_writing(entry: Entry, old: Entry | None) -> bool:
    return old is None or old.value != entry.value or (old.kind == "l") != (entry.kind == "l")
