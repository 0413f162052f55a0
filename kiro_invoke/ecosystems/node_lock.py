"""What lockfiles say: npm's in JSON; those of pnpm and yarn, which their programs write in lines of one form.

The latter are cut into entries by their indentation, as no parser of YAML reads many megabytes in time. An
entry that is written otherwise, which only a person does, counts as another one. An alias in it is but text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from kiro_invoke.ecosystems.node_parts import (
    FORMATTING,
    MANIFEST,
    MODULES,
    Doubt,
    Project,
    canonical,
    check_conflicts,
    hashed,
    is_installed,
    json_object,
    quoted,
    shown,
)

_OWN = ("name", "version", "license")
_KEY = re.compile(r"""\s*(?:\?\s+)?(?:'((?:[^']|'')*)'|"([^"]*)"|(.+?))(?::(?=\s|$)|$)""")
_PNPM_NAME = re.compile(r"/?((?:@[^/@]+/)?[^/@]+)(?:@|/\d)")
_YARN_NAME = re.compile(r"""(?:\?\s+)?["']?((?:@[^/@\s"']+/)?[^@\s"',]+)@""")
_SECTIONS = {
    "overrides": "override",
    "patchedDependencies": "patched dependency",
    "settings": "setting",
    "catalogs": "catalog",
}
_OF_THE_ROOT = (
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "specifiers",
    "dependenciesMeta",
)
_BLOCK_TEXT = re.compile(r"[|>][+-]?\d?[ \t]*$", re.MULTILINE)
_PNPM_HEADER = re.compile(r"""---|(?:[\w.-]+|'[^']*'|"[^"]*"):(?:\s|$)""")
_YARN_HEADER = re.compile(r"\?\s|.*:$")
#: What a line begins with that is no entry's first.
_GOES_ON = frozenset(("", " ", "\t", "#", "-", ":"))
_INDENTED = re.compile(r"\s*\{(\s*)")


class Entry(NamedTuple):
    """Lines of a lockfile that belong together: the first, which names them, its number, all of them."""

    header: str
    number: int
    lines: list[str]

    @property
    def key(self) -> str:
        found = _KEY.match(self.header)
        return next((each for each in found.groups() if each is not None), "") if found else self.header

    @property
    def value(self) -> str:
        """The lines without comments and blank ones, unless those may be of a text."""
        whole = "\n".join(self.lines)
        if _BLOCK_TEXT.search(whole):
            return whole.rstrip()
        return "\n".join(
            line.rstrip() for line in self.lines if line.strip() and not line.lstrip().startswith("#")
        )


def npm_lock(project: Project, file: str) -> None:
    """Gather package-lock.json or npm-shrinkwrap.json, of whichever version."""
    text = project.text(file)
    if text is None:
        return
    lock = json_object(file, text)
    for key, value in lock.items():
        if key in _OWN[:2]:
            project.tells(file, quoted(key), canonical(value))
        elif key == "packages" and isinstance(value, dict) and value:
            _packages(project, file, value)
        elif key == "dependencies" and isinstance(value, dict) and value:
            _nested(project, file, value)
        else:
            project.counts(file, quoted(key), canonical(value))
    orders = [list(each) if isinstance(each, dict) else None for each in lock.values()]
    indented = _INDENTED.match(text)
    project.tells(
        file, FORMATTING, hashed([list(lock), orders, indented and indented[1], text[-1:].isspace()])
    )


def pnpm_lock(project: Project, file: str) -> list[str]:
    """Gather pnpm-lock.yaml; returns the folders of the packages that it locks the dependencies of."""
    text = project.text(file)
    if text is None:
        return []
    parts, importers = _pnpm_parts(file, text)
    for what, value in parts:
        project.counts(file, what, value)
    project.tells(file, FORMATTING, hashed(text))
    return list(importers)


def yarn_lock(project: Project, file: str) -> None:
    """Gather yarn.lock, of classic yarn or of a newer one."""
    text = project.text(file)
    if text is None:
        return
    for what, value in _yarn_parts(file, text):
        project.counts(file, what, value)
    project.tells(file, FORMATTING, hashed(text))


@lru_cache(maxsize=4)
def _pnpm_parts(file: str, text: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The parts of a lockfile, and its importers; neither is to be changed. Most trees have the last one's."""
    parts, importers = [], []
    document = 0
    for section in _entries(file, text, _PNPM_HEADER):
        document += section.header.startswith("---")
        inner = list(_blocks(section.lines[1:], 2, section.number + 1))
        for entry in inner:
            where = f"{document} {section.header}\n"
            parts.append((_pnpm_part(section.key, entry.key), where + entry.value))
            if section.key == "importers":
                importers.append(entry.key)
        if not inner and section.key != "---":
            parts.append((quoted(section.key), f"{document}\n{section.value}"))
    return parts, importers


@lru_cache(maxsize=4)
def _yarn_parts(file: str, text: str) -> list[tuple[str, str]]:
    """The parts of a lockfile, not to be changed."""
    parts = []
    for entry in _entries(file, text, _YARN_HEADER):
        found = _YARN_NAME.match(entry.header)
        what = f"locked package {quoted(found[1])}" if found else quoted(entry.key)
        parts.append((what, entry.value))
    return parts


def _packages(project: Project, file: str, packages: dict[str, Any]) -> None:
    """The entries by their place. Those outside of node_modules copy a package.json of the project."""
    for path, entry in packages.items():
        if not is_installed(path):
            _copy(project, file, path, entry)
            continue
        places = [place.strip("/") for place in path.split(f"{MODULES}/")]
        what = " in ".join(quoted(place) for place in reversed(places) if place)
        project.counts(file, f"locked package {what}", canonical(entry))


def _copy(project: Project, file: str, folder: str, entry: object) -> None:
    what = f"copy of {shown(posixpath.join(folder, MANIFEST))}"
    if isinstance(entry, dict):
        # the name of a package in a workspace is that of its link
        dropped = entry.keys() & set(_OWN[1:] if folder else _OWN)
        for key in dropped:
            project.tells(file, f"{quoted(key)} in the {what}", canonical(entry[key]))
        entry = {key: value for key, value in entry.items() if key not in dropped}
    project.counts(file, what, canonical(entry))


def _nested(project: Project, file: str, dependencies: dict[str, Any]) -> None:
    """The entries as npm 6 reads them: each holds those below it."""
    stack = [(dependencies, "")]
    while stack:
        level, within = stack.pop()
        for name, entry in level.items():
            what, own = f"{quoted(name)}{within}", entry
            if isinstance(entry, dict) and isinstance(entry.get("dependencies"), dict):
                stack.append((entry["dependencies"], f" in {what}"))
                own = {**entry, "dependencies": None}
            project.counts(file, f"locked package {what}", canonical(own))


def _pnpm_part(section: str, key: str) -> str:
    if section in ("packages", "snapshots"):
        found = _PNPM_NAME.match(key)
        return f"locked package {quoted(found[1] if found else key)}"
    if section == "importers":
        return f"locked dependencies of {shown(posixpath.normpath(posixpath.join(key, MANIFEST)))}"
    if section in _OF_THE_ROOT:
        return f"locked dependencies of {MANIFEST}"
    return f"{_SECTIONS.get(section, quoted(section))} {quoted(key)}"


def _entries(file: str, text: str, header: re.Pattern[str]) -> Iterator[Entry]:
    """The entries that begin at the left margin, each with such a header."""
    check_conflicts(file, text)
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] and _is_cut_off(lines[-1]):
        raise Doubt(file, "ends in the middle of a line", len(lines))
    for entry in _blocks(lines, 0, 1):
        if not header.match(entry.header):
            raise Doubt(file, "no line of a lockfile", entry.number)
        yield entry


def _blocks(lines: list[str], indent: int, number: int) -> Iterator[Entry]:
    """The lines, cut where one begins with a name at this indentation; with `-` or `:` an entry goes on."""
    entry = None
    for at, line in enumerate(lines, number):
        goes_on = line[indent : indent + 1] in _GOES_ON or (indent and line[:indent].strip())
        if goes_on and not line.startswith("---"):
            if entry is not None:
                entry.lines.append(line)
                continue
            if not line.strip() or line.lstrip().startswith("#"):
                continue
        if entry is not None:
            yield entry
        entry = Entry(line.rstrip(), at, [line])
    if entry is not None:
        yield entry


def _is_cut_off(line: str) -> bool:
    """Whether a line without an end has open quotes or braces, or is a lone word."""
    for opening, closing in ('""', "''", "{}", "()"):
        count, other = line.count(opening), line.count(closing)
        if count % 2 if opening == closing else count != other:
            return True
    word = line.strip()
    return not any(letter in word for letter in ": \"'") and not word.startswith(("#", "-"))
