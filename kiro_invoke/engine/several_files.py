"""Replace the contents of several files: all of them, or none."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from kiro_invoke.model.errors import KiroError


def replace_all(contents: Mapping[Path, tuple[bytes, bytes]]) -> None:
    """Give each file its second content where it still has the first; KiroError, and all as before, if one has not.

    Links are followed: what they lead to is replaced. Permissions stay.
    """
    drafts: dict[Path, Path] = {}
    try:
        for link, (before, after) in contents.items():
            path = link.resolve()
            _check(path, before)
            drafts[path] = _draft(path, after)
        _put_in_place(drafts, {link.resolve(): before for link, (before, _) in contents.items()})
    except OSError as trouble:
        raise KiroError(
            f"cannot be written: {trouble.strerror}; nothing was changed",
            file=trouble.filename,
            fix="make the file and its folder writable",
        ) from None
    finally:
        for draft in drafts.values():
            with suppress(FileNotFoundError):
                draft.unlink()


def _check(path: Path, before: bytes) -> None:
    if path.read_bytes() != before:
        raise KiroError("was changed meanwhile; nothing was changed", file=str(path), fix="try again")


def _draft(path: Path, content: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(stat.S_IMODE(path.stat().st_mode))
    except BaseException:
        draft.unlink()
        raise
    return draft


def _put_in_place(drafts: Mapping[Path, Path], before: Mapping[Path, bytes]) -> None:
    done: list[Path] = []
    try:
        for path, draft in drafts.items():
            draft.replace(path)
            done.append(path)
    except BaseException:
        for path in done:
            _draft(path, before[path]).replace(path)
        raise
