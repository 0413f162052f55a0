"""A lockfile as the recipe writes it: all of it, in its order, with the versions of local crates masked."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from kiro_invoke.ecosystems.cargo_text import DOTS, LIMIT, Table, Value, disorder, parse, rank, shown
from kiro_invoke.model.fingerprint import Part

LOCKFILE = "Cargo.lock"
#: cargo-chef's version of all local crates.
MASK = "0.0.1"

_SECTIONS = {"version": "format version", "metadata": "checksums", "patch": "unused patches"}
_NUMBER = re.compile(r"(?<!\d)0*(\d+)")
_ENTRY = b"\n[[package]]\n"
#: What a piece of a lockfile may be torn from, or hide: texts of many lines, and what cargo does not write.
_NOT_IN_PIECES = re.compile(rb'"""|\'\'\'|\r|\A\xef\xbb\xbf')
#: Entries that are kept understood: of two lockfiles nearly all are the same.
_KEPT = 1 << 14


class _Locked(NamedTuple):
    """An entry of the lockfile: what it is called, in one form, and its place in Cargo's order."""

    table: Table
    name: str
    text: str
    rank: tuple[object, ...]


def lock_parts(raw: bytes, local: Collection[str]) -> tuple[dict[Part, str], dict[Part, str]]:
    """The parts of a lockfile, and the versions that it does not show. `local`: names of the recipe's packages."""
    lock, known = _read(raw)
    parts = {Part(LOCKFILE, "lockfile"): "there"}
    unseen: dict[Part, str] = {}
    packages = lock.get("package")
    if isinstance(packages, list):
        lock = {**lock, "package": [_masked(package, local, unseen) for package in packages]}
    for key, value in lock.items():
        if key == "package" and _are_tables(value):
            parts |= _packages([known.get(id(package)) or _locked(package) for package in value])
        else:
            parts[Part(LOCKFILE, _SECTIONS.get(key, f"`{key}`"))] = shown(value)
    sections = sorted(lock.items(), key=rank)
    odd = disorder([key for key, _ in sections], lambda key: (rank((key, lock[key])), key))
    if odd:
        parts[Part(LOCKFILE, "order of the sections")] = shown(odd)
    return parts, unseen


def _are_tables(value: Value) -> bool:
    return isinstance(value, list) and value != [] and all(isinstance(item, dict) for item in value)


def _masked(package: Value, local: Collection[str], unseen: dict[Part, str]) -> Value:
    if not isinstance(package, dict) or "source" in package or "version" not in package:
        return package
    name = package.get("name")
    if not isinstance(name, str) or name not in local:
        return package
    unseen[Part(LOCKFILE, f"version of `{name}`")] = shown(package["version"])
    return {**package, "version": MASK}


def _packages(packages: Sequence[_Locked]) -> dict[Part, str]:
    named: dict[str, list[str]] = defaultdict(list)
    for package in packages:
        named[package.name].append(package.text)
    parts = {Part(LOCKFILE, name): ", ".join(entries) for name, entries in named.items()}
    odd = disorder(packages, lambda package: package.rank)
    if odd:
        pairs = [[before.name, after.name] for before, after in odd]
        parts[Part(LOCKFILE, "order of the locked crates")] = shown(pairs)
    return parts


def _locked(package: Table) -> _Locked:
    return _Locked(package, _name(package), shown(package), _rank(package))


def _read(raw: bytes) -> tuple[Table, dict[int, _Locked]]:
    """A lockfile's content, not to be changed, and by their identity those of its entries that are understood.

    As cargo writes it, it is read entry by entry, those that were met before not again; written otherwise, as a whole.
    """
    first, *rest = raw.split(_ENTRY)
    if not rest or len(raw) > LIMIT or _NOT_IN_PIECES.search(raw):
        return parse(LOCKFILE, raw), {}
    try:
        head, pieces = tomllib.loads(first.decode()), [_piece(piece) for piece in rest]
    except (ValueError, RecursionError):
        return parse(LOCKFILE, raw), {}  # which says what is wrong, and where
    entries = [entry for entry, _ in pieces]
    # what follows the entries stands in the last one's piece
    *others, after = (more for _, more in pieces)
    if any(others) or "package" in head or head.keys() & after.keys():
        return parse(LOCKFILE, raw), {}
    lock = {**head, "package": [entry.table for entry in entries], **after}
    return lock, {id(entry.table): entry for entry in entries}


@lru_cache(maxsize=_KEPT)
def _piece(piece: bytes) -> tuple[_Locked, Table]:
    """What an entry says, and what stands behind it. ValueError if that is no entry, or takes long to read."""
    if any(line.count(b".") > DOTS for line in piece.split(b"\n")):
        raise ValueError("names of many parts")
    said = tomllib.loads((_ENTRY + piece).decode())
    (package,) = said.pop("package")
    return _locked(package), said


def _name(package: Table) -> str:
    name, version = package.get("name", ""), package.get("version", "")
    if version == MASK and "source" not in package:
        return f"dependencies of `{name}`"
    return f"locked crate `{name}` {version}"


def _rank(package: Table) -> tuple[object, ...]:
    """Cargo's own order: by name, version and source."""
    version = str(package.get("version", ""))
    core, dash, rest = version.partition("-")
    numbers = [(len(number), number) for number in _NUMBER.findall(core)[:3]]
    return str(package.get("name", "")), numbers, not dash, rest, version, str(package.get("source", ""))
