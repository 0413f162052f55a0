"""What has to be sent into a container so that it holds what lies on disk. Pure, but for the reading of files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.model.live import SyncRule

#: A snapshot's idea of a file or link, or a folder's mode.
What = object
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What is more than this is no live update (bytes).
MOST = 512 * 1024 * 1024


class Moved(Exception):
    """A file is no longer what it was when it was looked at."""


@dataclass(frozen=True)
class Places:
    """Where a service's files lie in its container: by its rules, with the image's working folder for "".

    `binds` are folders of this machine that are mounted there: what lies in them is there already.
    """

    rules: Sequence[SyncRule]
    folder: str
    binds: Sequence[str] = ()

    def of(self, path: str) -> str | None:
        """The absolute path in the container of a file of the context; None if no rule covers it."""
        fitting = [rule for rule in self.rules if _inside(path, rule.folder)]
        if not fitting:
            return None
        rule = max(fitting, key=lambda one: len(one.folder))
        inner = path[len(rule.folder) :].strip("/")
        place = rule.place or self.folder
        return f"{place.rstrip('/')}/{inner}" if inner else place

    def is_mounted(self, place: str) -> bool:
        return any(_inside(place, bind) for bind in self.binds)


@dataclass(frozen=True)
class Transfer:
    """What is done in this order: files removed, whatever is at a place removed, files and folders put, empty folders
    removed. Places are absolute paths in the container; `put` names the file in the context as well.

    `changed` are the paths of the context that all of it is about; `uncovered` those that no rule covers. `rewritten`:
    nothing came, went or became something else, files only have other contents.
    """

    drop: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()
    put: tuple[tuple[str, str], ...] = ()
    prune: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    uncovered: tuple[str, ...] = ()
    rewritten: bool = False

    def is_plain(self, endings: Sequence[str]) -> bool:
        """Whether all of it is other contents of files with such endings."""
        if not self.rewritten or not self.changed:
            return False
        return all(path.endswith(tuple(endings)) for path in self.changed)


def transfer(
    before: Mapping[str, What], after: Mapping[str, What], places: Places, doubt: Iterable[str] = ()
) -> Transfer:
    """What turns a container that holds `before` into one that holds `after`; both as Snapshot.contents has them.

    Of the paths in `doubt` it is not known what the container holds.
    """
    doubted = frozenset(doubt)
    changed = sorted(
        {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} | doubted
    )
    is_mounted = False  # such a file has the time that this machine gave it
    drop: list[str] = []
    clear: list[str] = []
    put: list[tuple[str, str]] = []
    prune: list[str] = []
    uncovered: list[str] = []
    for path in changed:
        name, is_folder = path.removesuffix("/"), path.endswith("/")
        place = places.of(name)
        if place is None:
            uncovered.append(path)
        elif places.is_mounted(place):
            is_mounted = True
        elif path not in after:
            other = name if is_folder else f"{name}/"
            if other not in after:  # else what comes there clears it
                (prune if is_folder else drop).append(place)
        else:
            if _needs_room(name, before, after, is_folder=is_folder) or (path in doubted and not is_folder):
                clear.append(place)
            put.append((path, place))
    return Transfer(
        tuple(drop),
        tuple(clear),
        tuple(put),
        tuple(sorted(prune, reverse=True)),
        tuple(changed),
        tuple(uncovered),
        rewritten=not doubted
        and not is_mounted
        and all(_is_rewritten(before.get(path), after.get(path)) for path in changed),
    )


def _is_rewritten(was: What, is_: What) -> bool:
    """Whether a file is a file of the same mode as it was."""
    if not isinstance(was, tuple) or not isinstance(is_, tuple):
        return False
    return bool(was[0] == is_[0] != "l" and was[2] == is_[2])


def _needs_room(name: str, before: Mapping[str, What], after: Mapping[str, What], *, is_folder: bool) -> bool:
    """Whether something of another kind lies where a file, link or folder is to be."""
    if is_folder:
        return name in before and name not in after
    was = before.get(name)
    return f"{name}/" in before or _is_link(after.get(name)) or (was is not None and _is_link(was))


def _is_link(what: What) -> bool:
    return isinstance(what, tuple) and what[:1] == ("l",)


def archive(context: Path, put: Iterable[tuple[str, str]], after: Mapping[str, What]) -> bytes:
    """A tar file of what is to be put, by place, with the modes of `after`; Moved if a file is no longer as there."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for path, place in put:
            _add(tar, context, path, place, after[path])
    return buffer.getvalue()


def listed(places: Iterable[str]) -> bytes:
    """Places as the session in a container takes them."""
    return b"".join(place.encode(errors="surrogateescape") + b"\0" for place in places)


def one_file(place: str, content: bytes) -> bytes:
    """A tar file of one file, which everybody may read."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        member = tarfile.TarInfo(place.lstrip("/"))
        member.size, member.mode = len(content), 0o644
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def size_of(context: Path, put: Iterable[tuple[str, str]]) -> int:
    """The bytes that would be sent, about."""
    total = 0
    for path, _ in put:
        try:
            total += (context / path).lstat().st_size
        except OSError:
            continue
    return total


def _add(tar: tarfile.TarFile, context: Path, path: str, place: str, what: What) -> None:
    member = tarfile.TarInfo(place.lstrip("/"))
    if isinstance(what, int):
        member.type, member.mode = tarfile.DIRTYPE, what
        tar.addfile(member)
        return
    assert isinstance(what, tuple)
    kind, value, mode = what
    member.mode = mode
    if kind == "l":
        member.type, member.linkname = tarfile.SYMTYPE, os.fsdecode(value)
        tar.addfile(member)
        return
    content = _read(context / path)
    if hashlib.sha256(content).hexdigest().encode() != value:
        raise Moved
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _read(path: Path) -> bytes:
    try:
        with os.fdopen(os.open(path, _FILE), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Moved
            return file.read()
    except OSError:
        raise Moved from None


def _inside(path: str, folder: str) -> bool:
    bare = folder.rstrip("/")
    return not bare or path == bare or path.startswith(f"{bare}/")
