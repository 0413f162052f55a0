"""A build that failed because something was full: recognized in what was printed, and told apart. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from kiro_invoke.engine.disk import Room
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import BuildFailed

#: With more free than this after a failure, it was hardly the engine's disk that a step filled.
ROOMY_BYTES = 10_000_000_000
#: With so few left, it is files that are used up, not bytes.
_FEW_FILES = 1000
#: A file system in memory that each step has.
_SHARED_MEMORY = "/dev/shm"

_QUOTA = re.compile(r"disk quota exceeded|\bEDQUOT\b|\bos error 122\b|\bquota exceeded\b.*\bdisk\b", re.I)
_FULL = re.compile(
    r"no space left on device|\bos error 28\b|don't have enough free space in|database or disk is full", re.I
)
_CODE = re.compile(r"\bENOSPC\b|\berrno:? -?28\b")
#: Linux says the same where a user has no more file watches.
_WATCHES = re.compile(r"inotify|file watch|\bwatch(?:es|ing)? ['\"/]|fsnotify|watch limit", re.I)
_PATH = re.compile(r"""(?:^|[\s'"(:=])(?P<path>/[^\s'":,;()]+)""")


class Kind(StrEnum):
    """What was used up."""

    SPACE = "space"
    QUOTA = "quota"
    WATCHES = "watches"


@dataclass(frozen=True)
class Shortage:
    """What a line told: what was used up, and the paths that it names."""

    kind: Kind
    line: str
    paths: tuple[str, ...] = ()


class NoRoom(BuildFailed):
    """A build failed because something was full."""

    shortage: Shortage

    @classmethod
    def of(cls, failed: BuildFailed, shortage: Shortage) -> NoRoom:
        """The same failure, with what was full."""
        made = cls(
            failed.message,
            file=failed.file,
            line=failed.line,
            fix=failed.fix,
            log=failed.log,
            tail=failed.tail,
        )
        made.attempt, made.shortage = failed.attempt, shortage
        return made


@dataclass(frozen=True)
class Explained:
    """Why there was no room, and what to do. `is_engines`: it may be the engine's disk, so to clean that may help."""

    why: str
    fix: str = ""
    is_engines: bool = False


def shortage_of(lines: Iterable[str]) -> Shortage | None:
    """What the lines of a failed step, or of the engine, tell of something full; None where they do not.

    Watches go first: a step that could not watch prints both words.
    """
    found = [told for line in lines if (told := _told(line))]
    watches = (one for one in found if one.kind is Kind.WATCHES)
    return next(watches, found[0] if found else None)


def _told(line: str) -> Shortage | None:
    if _QUOTA.search(line):
        kind = Kind.QUOTA
    elif _FULL.search(line) or _CODE.search(line):
        kind = Kind.WATCHES if _WATCHES.search(line) else Kind.SPACE
    else:
        return None
    return Shortage(kind, line.strip(), tuple(match["path"] for match in _PATH.finditer(line)))


def explains(shortage: Shortage, room: Room | None, *, in_memory: Collection[str] = ()) -> Explained:
    """Whose disk was full. `room` is what the engine's has now, None where that is not known; `in_memory` are the
    folders where the step has tmpfs mounts.
    """
    if shortage.kind is Kind.WATCHES:
        return Explained(
            "no disk is full, but the user's file watches are used up (Linux says the same of both)",
            "watch nothing in a build, or raise the limit on the engine's machine: "
            "`sudo sysctl fs.inotify.max_user_watches=524288`",
        )
    if inside := _file_system(shortage.paths, in_memory):
        return Explained(
            f"{inside} is a file system in memory, of the step's own, and was full",
            f"write to another folder than {inside} in that step, or give its `--mount=type=tmpfs` a larger size=",
        )
    if shortage.kind is Kind.QUOTA:
        return Explained("a disk quota was used up", is_engines=True)
    own = [folder for folder in in_memory if folder]
    if own and not shortage.paths:
        return Explained(
            f"{', '.join(own)}, in memory, or the engine's disk was full{_now(room)}",
            "give its `--mount=type=tmpfs` a larger size=",
            is_engines=True,
        )
    if room is None:
        return Explained(
            "a disk of the engine's machine was full, or a file system of the step's own", is_engines=True
        )
    if room.files is not None and room.files < _FEW_FILES:
        told = f"the engine's disk ({room.root}) takes {room.files} more files, whatever room they need"
        return Explained(told, is_engines=True)
    if room.free < ROOMY_BYTES:
        return Explained(f"the engine's disk was full{_now(room)}", is_engines=True)
    return Explained(
        f"something was full{_now(room)}: unless it wrote as much, that is another file system",
        "look which folder the step writes to: a tmpfs mount, /dev/shm, or a mount with a limit",
    )


def _now(room: Room | None) -> str:
    return (
        f" ({room.root}: {told_bytes(room.free)} free now that what the step wrote is gone)" if room else ""
    )


def _file_system(paths: Iterable[str], in_memory: Collection[str]) -> str:
    """The file system in memory that one of these paths lies in, or ""."""
    for path in paths:
        for folder in (*in_memory, _SHARED_MEMORY):
            if folder and PurePosixPath(path).is_relative_to(folder):
                return folder
    return ""
