"""Paths in the configuration: what is there, and whether it lies inside the repository."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Given


def is_file(path: Path) -> bool:
    """Whether a regular file is there, symlinks followed; a path that cannot be is not."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder is there, symlinks followed; a path that cannot be is not."""
    return stat.S_ISDIR(_mode(path))


def file_names(folder: Path) -> frozenset[str]:
    """The names of the regular files in a folder; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if is_file(folder / entry.name))
    except OSError:
        return frozenset()


def relative(path: Path, root: Path) -> str:
    """`path` for a person: relative to the repository where it lies inside, `.` for its root."""
    inside = path.is_relative_to(root)
    return shown((path.relative_to(root) if inside else path).as_posix(), 1000)


def leads_outside(path: Path, root: Path) -> bool:
    """Whether a path, symlinks and `..` followed, ends outside `root` (resolved), or nowhere."""
    try:
        return not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):
        return True


def inside(given: Given, key: str, base: Path, root: Path) -> Path:
    """The path that was given relative to `base`, its folders resolved; ConfigError if it leads outside."""
    path = base / given.text
    if leads_outside(path, root):
        message = f'{key} "{shown(given.text)}" leads outside the repository'
        raise given.refused(message, f"name a path inside {shown(str(root))}")
    return path.resolve() if path.name in {"", ".."} else path.parent.resolve() / path.name


def anywhere(given: Given, key: str, root: Path, environ: Mapping[str, str]) -> Path:
    """The path that was given, `~` expanded, relative to `root`; it may lie outside the repository."""
    try:
        return root / expanded(given.text, environ)
    except RuntimeError:
        message = f'{key} "{shown(given.text)}" names a home folder that is not known'
        raise given.refused(message, "write the path out") from None


def expanded(text: str, environ: Mapping[str, str]) -> Path:
    """`text` as a path with `~` expanded; RuntimeError when that home folder is not known."""
    first, _, rest = text.partition("/")
    if first == "~" and (home := environ.get("HOME")):
        return Path(home) / rest.lstrip("/")
    return Path(text).expanduser()


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
