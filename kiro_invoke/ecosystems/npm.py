"""Node with npm."""

from __future__ import annotations

name = "npm"
manifest = "package.json"
_LOCKFILES = frozenset({"package-lock.json", "npm-shrinkwrap.json"})


def detects(names: frozenset[str]) -> bool:
    """Whether a folder that holds files of these names is a package that npm has locked."""
    return manifest in names and not _LOCKFILES.isdisjoint(names)
