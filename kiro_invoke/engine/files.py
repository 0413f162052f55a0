"""Write files so that nothing is ever half there."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from kiro_invoke.model.errors import ConfigError


def refuse_links(*folders: Path) -> None:
    """ConfigError if one of these is a link: a repository could lead us with it into a person's other folders."""
    for folder in folders:
        if folder.is_symlink():
            raise ConfigError(
                "a folder of kiro's own must not be a link",
                file=str(folder),
                fix="remove the link; the folder is made anew",
            )


def make_state_folder(folder: Path) -> None:
    """Make the state folder, which ignores itself in git; ConfigError where it cannot be written, or is a link."""
    refuse_links(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / ".gitignore").exists():
            write_whole(folder / ".gitignore", "*\n")
    except OSError as error:
        raise ConfigError(
            f"the state folder cannot be written: {error.strerror}", file=str(folder), fix="make it writable"
        ) from None


def write_whole(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` by `text` in one step: written beside it, synced, renamed over it. `mode`: its permission bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(mode)
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise
