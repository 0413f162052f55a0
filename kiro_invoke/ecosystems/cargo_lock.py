"""A lockfile as the recipe writes it: all of it, in its order, with the versions of local crates masked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection

from kiro_invoke.ecosystems.cargo_text import Table, Value, disorder, rank, shown
from kiro_invoke.model.fingerprint import Part

LOCKFILE = "Cargo.lock"
#: cargo-chef's version of all local crates.
MASK = "0.0.1"

_SECTIONS = {"version": "format version", "metadata": "checksums", "patch": "unused patches"}
_NUMBER = re.compile(r"(?<!\d)0*(\d+)")


def lock_parts(lock: Table, local: Collection[str]) -> tuple[dict[Part, str], dict[Part, str]]:
    """The parts of a lockfile, and the versions that it does not show. `local`: names of the recipe's packages."""
    parts = {Part(LOCKFILE, "lockfile"): "there"}
    unseen: dict[Part, str] = {}
    packages = lock.get("package")
    if isinstance(packages, list):
        lock = {**lock, "package": [_masked(package, local, unseen) for package in packages]}
    for key, value in lock.items():
        if key == "package" and _are_tables(value):
            parts |= _packages(value)
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


def _packages(packages: list[Table]) -> dict[Part, str]:
    named: dict[str, list[str]] = defaultdict(list)
    for package in packages:
        named[_name(package)].append(shown(package))
    parts = {Part(LOCKFILE, name): ", ".join(entries) for name, entries in named.items()}
    odd = disorder(packages, _rank)
    if odd:
        pairs = [[_name(before), _name(after)] for before, after in odd]
        parts[Part(LOCKFILE, "order of the locked crates")] = shown(pairs)
    return parts


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
