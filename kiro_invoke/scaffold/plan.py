"""What to do about each file: compared with what is there, as values that print as a diff."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum

from kiro_invoke.scaffold.files import File, Form
from kiro_invoke.scaffold.marking import block_mark, is_damaged, whole, whole_mark, with_block, without_block

#: The text of a file; None where there is none.
Reads = Callable[[str], str | None]


class Deed(StrEnum):
    """CREATE, ADD (lines to a person's file), RENEW (our own, as it was), REPLACE (what a person wrote or changed),
    KEEP (as it should be), LEAVE (not as it should be, and not ours to change), REMOVE, RESTORE (ours leaves it).
    """

    CREATE = "create"
    ADD = "add"
    RENEW = "renew"
    REPLACE = "replace"
    KEEP = "keep"
    LEAVE = "leave"
    REMOVE = "remove"
    RESTORE = "restore"


@dataclass(frozen=True)
class Write:
    """One file: what is done to it, and why. `before` and `after` are its texts, None where there is no file."""

    path: str
    deed: Deed
    cause: str
    before: str | None
    after: str | None

    @property
    def writes(self) -> bool:
        return self.deed not in {Deed.KEEP, Deed.LEAVE}

    def diff(self) -> list[str]:
        """The lines of a unified diff from what is there to what is wanted."""
        lines = unified_diff(
            (self.before or "").splitlines(), (self.after or "").splitlines(),
            "/dev/null" if self.before is None else f"a/{self.path}",
            "/dev/null" if self.after is None else f"b/{self.path}", lineterm="",
        )  # fmt: skip
        return list(lines)


@dataclass(frozen=True)
class Wishes:
    """`upgrade`: renew what an older version, or other facts, made. `force`: replace what is a person's."""

    upgrade: bool = False
    force: bool = False


_DAMAGED = "lines of kiro init begin in it, and their end is gone: take out by hand what is not yours"


def plan(wanted: Iterable[File], reads: Reads, version: str, wishes: Wishes) -> tuple[Write, ...]:
    """What has every wanted file there."""
    return tuple(write for file in wanted for write in _planned(file, reads(file.path), version, wishes))


def unplan(paths: Sequence[str], reads: Reads, *, force: bool) -> tuple[Write, ...]:
    """What removes all that was written. `paths`: of the files in which it may be."""
    return tuple(write for path in paths for write in _unplanned(path, reads(path), force=force))


def _planned(file: File, there: str | None, version: str, wishes: Wishes) -> Iterator[Write]:
    if there is None:
        if file.form is not Form.ADDED:
            yield Write(file.path, Deed.CREATE, file.cause, None, whole(file.text, version, file.comment))
        return
    mark = whole_mark(there)
    if mark is None and file.form is not Form.WHOLE and is_damaged(there):
        yield Write(file.path, Deed.LEAVE, _DAMAGED, there, there)
        return
    if mark is None and file.form is not Form.WHOLE:
        yield _block(file, there, version, wishes)
        return
    if mark is not None and mark.body == file.text:
        yield Write(file.path, Deed.KEEP, "as it should be", there, there)
        return
    after = whole(file.text, version, file.comment)
    if mark is None:
        deed = Deed.REPLACE if wishes.force else Deed.LEAVE
        yield Write(
            file.path,
            deed,
            "it is yours (--force replaces it)" if deed is Deed.LEAVE else file.cause,
            there,
            after,
        )
    elif not mark.intact:
        deed = Deed.REPLACE if wishes.force else Deed.LEAVE
        cause = "you changed it since it was written (--force replaces it)"
        yield Write(file.path, deed, cause if deed is Deed.LEAVE else file.cause, there, after)
    else:
        deed = Deed.RENEW if wishes.upgrade or wishes.force else Deed.LEAVE
        cause = f"version {mark.version} wrote another (--upgrade renews it)"
        yield Write(file.path, deed, cause if deed is Deed.LEAVE else file.cause, there, after)


def _block(file: File, there: str, version: str, wishes: Wishes) -> Write:
    mark = block_mark(there)
    if mark is None:
        after = with_block(there, file.text, version, file.comment)
        return Write(file.path, Deed.ADD, file.cause, there, after)
    if mark.body == file.text:
        return Write(file.path, Deed.KEEP, "as it should be", there, there)
    after = with_block(there, file.text, version, file.comment)
    may = wishes.force or (wishes.upgrade and mark.intact)
    if may:
        return Write(file.path, Deed.RENEW if mark.intact else Deed.REPLACE, file.cause, there, after)
    cause = (
        f"version {mark.version} wrote other lines (--upgrade renews them)"
        if mark.intact
        else "you changed its lines since they were written (--force replaces them)"
    )
    return Write(file.path, Deed.LEAVE, cause, there, after)


def _unplanned(path: str, there: str | None, *, force: bool) -> Iterator[Write]:
    if there is None:
        return
    if (mark := whole_mark(there)) is not None:
        may = mark.intact or force
        cause = "written by kiro init" if mark.intact else "written by kiro init, and changed since"
        deed = Deed.REMOVE if may else Deed.LEAVE
        yield Write(path, deed, cause if may else f"{cause} (--force removes it)", there, None)
    elif is_damaged(there):
        yield Write(path, Deed.LEAVE, _DAMAGED, there, there)
    elif (mark := block_mark(there)) is not None:
        may = mark.intact or force
        cause = (
            "lines written by kiro init" if mark.intact else "lines written by kiro init, and changed since"
        )
        deed = Deed.RESTORE if may else Deed.LEAVE
        yield Write(
            path, deed, cause if may else f"{cause} (--force removes them)", there, without_block(there)
        )
