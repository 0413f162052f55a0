"""Where the files are that other programs take from this package: Make's fragment, Tilt's extension."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from kiro_invoke.commands.surface import Answer, Surface

_PACKAGE = Path(__file__).parents[1]
MAKE_FRAGMENT = _PACKAGE / "kiro.mk"
TILT_EXTENSION = _PACKAGE / "Tiltfile"
#: What divides names in Make,
_DIVIDING = re.compile(r"([\s\\])")
#: and what matches several: Make 3.81 takes no backslash before these.
_MATCHING = re.compile(r"([*?\[])")


def make_path() -> Callable[[Surface], Answer]:
    """Print the fragment's path as `include` takes it."""
    return lambda _surface: _told(MAKE_FRAGMENT, included(MAKE_FRAGMENT))


def tilt_path() -> Callable[[Surface], Answer]:
    """Print the path of the extension's Tiltfile."""
    return lambda _surface: _told(TILT_EXTENSION, str(TILT_EXTENSION))


def included(path: Path) -> str:
    """A path as Make's `include` takes it: it would divide one with a space."""
    return _MATCHING.sub(r"[\1]", _DIVIDING.sub(r"\\\1", str(path)))


def _told(path: Path, shown: str) -> Answer:
    # as it is, in one line however long: a program reads it
    return Answer({"path": str(path)}, lambda _surface: print(shown))
