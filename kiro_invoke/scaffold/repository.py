"""A repository as detection sees it: its paths, and the texts of those that it asks for."""

from __future__ import annotations

import json
import tomllib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from itertools import islice, takewhile
from posixpath import dirname, join
from typing import Any

import yaml

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
        yield from self._folders.get(name, ())

    def below(self, folder: str, *endings: str) -> Iterator[str]:
        """The files in and below a folder whose names end so, those nearest to it first."""
        start = f"{folder}/" if folder else ""
        inside = islice(self._sorted, bisect_left(self._sorted, start), None)
        found = [
            path for path in takewhile(lambda path: path.startswith(start), inside) if path.endswith(endings)
        ]
        yield from sorted(found, key=lambda path: (path.count("/"), path))

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.paths)

    @cached_property
    def _folders(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for path in sorted(self.paths, key=lambda path: (path.count("/"), path)):
            if LEFT_OUT.isdisjoint(path.split("/")):
                found.setdefault(path.rpartition("/")[2], []).append(dirname(path))
        return {name: tuple(folders) for name, folders in found.items()}

    @cached_property
    def _read(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        """Documents that were asked for before: their form and path."""
        return {}

    def toml(self, path: str) -> Mapping[str, Any]:
        """A document of TOML; empty where it is none."""
        return self._document(path, "toml", _of_toml)

    def json(self, path: str) -> Mapping[str, Any]:
        """An object of JSON; empty where it is none."""
        return self._document(path, "json", _of_json)

    def yaml(self, path: str) -> Mapping[str, Any]:
        """A mapping of YAML; empty where it is none."""
        return self._document(path, "yaml", _of_yaml)

    def _document(self, path: str, form: str, parsed: Callable[[str], object]) -> Mapping[str, Any]:
        if (form, path) not in self._read:
            self._read[form, path] = table(parsed(self.read(path))) if path in self.paths else {}
        return self._read[form, path]


def _of_toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _of_json(text: str) -> object:
    try:
        return json.loads(text.removeprefix("﻿") or "{}")
    except (ValueError, RecursionError):
        return None


def _of_yaml(text: str) -> object:
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None


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
