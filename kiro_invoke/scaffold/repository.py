"""A repository as detection sees it: its paths, and the texts of those that it asks for."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from posixpath import dirname, join
from typing import Any

#: What is below these is neither looked at nor taken for a service.
LEFT_OUT = frozenset(
    {"node_modules", "target", "dist", "build", "vendor", "third_party", "tests", "test", "fixtures", "examples",
     "benches", "__pycache__", "venv"}
)  # fmt: skip


@dataclass(frozen=True)
class Repository:
    """`name`: its folder's. `paths`: of its files, from its root. `read`: a file's text, "" where there is none."""

    name: str
    paths: frozenset[str]
    read: Callable[[str], str]

    def has(self, path: str) -> bool:
        return path in self.paths

    def named(self, name: str) -> Iterator[str]:
        """The folders that hold a file of this name, the root ("") first; but none that no service is in."""
        for path in sorted(self.paths, key=lambda path: (path.count("/"), path)):
            if path.rpartition("/")[2] == name and LEFT_OUT.isdisjoint(path.split("/")):
                yield dirname(path)

    def below(self, folder: str, *endings: str) -> Iterator[str]:
        """The files in and below a folder whose names end so, those nearest to it first."""
        start = f"{folder}/" if folder else ""
        found = (path for path in self.paths if path.startswith(start) and path.endswith(endings))
        yield from sorted(found, key=lambda path: (path.count("/"), path))

    def toml(self, path: str) -> Mapping[str, Any]:
        """A document of TOML; empty where it is none."""
        try:
            return tomllib.loads(self.read(path))
        except tomllib.TOMLDecodeError:
            return {}

    def json(self, path: str) -> Mapping[str, Any]:
        """An object of JSON; empty where it is none."""
        try:
            value = json.loads(self.read(path).removeprefix("﻿") or "{}")
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


def up(folder: str) -> Iterator[str]:
    """A folder and those around it, the root ("") last."""
    yield folder
    while folder:
        folder = dirname(folder)
        yield folder


def matches(folder: str, root: str, patterns: object) -> bool:
    """Whether a folder is one that a workspace at `root` names by these patterns; `!` takes out again."""
    relative = folder[len(root) + 1 :] if root else folder
    found = False
    for pattern in patterns if isinstance(patterns, list) else ():
        text = str(pattern).removeprefix("./").rstrip("/")
        wanted = not text.startswith("!")
        if _fits(relative, text.removeprefix("!")):
            found = wanted
    return found


def placed(folder: str, name: str) -> str:
    return join(folder, name) if folder else name


def line_of(text: str, at: int) -> int:
    """The line (1-based) that a position of a text lies in."""
    return text.count("\n", 0, at) + 1


def table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _fits(path: str, pattern: str) -> bool:
    return _parts_fit(path.split("/"), pattern.split("/"))


def _parts_fit(parts: list[str], wanted: list[str]) -> bool:
    if not wanted or not parts:
        return not parts and all(one == "**" for one in wanted)
    if wanted[0] == "**":
        return _parts_fit(parts, wanted[1:]) or _parts_fit(parts[1:], wanted)
    return fnmatch(parts[0], wanted[0]) and _parts_fit(parts[1:], wanted[1:])
