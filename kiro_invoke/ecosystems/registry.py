"""The ecosystems that the tool knows. Another one is a module beside this one and a line in ECOSYSTEMS."""

from __future__ import annotations

from typing import Protocol

from kiro_invoke.ecosystems import cargo, npm

#: The ecosystem of a service that no module here knows.
OTHER = "other"


class Ecosystem(Protocol):
    """What each module of an ecosystem offers. `manifest` is the file that a person knows it by."""

    name: str
    manifest: str

    def detects(self, names: frozenset[str]) -> bool:
        """Whether a folder that holds files of these names belongs to it."""


#: Name -> module; where a folder belongs to several, the first is taken.
ECOSYSTEMS: dict[str, Ecosystem] = {
    cargo.name: cargo,
    npm.name: npm,
}


def detect(names: frozenset[str]) -> str | None:
    """The name of the ecosystem of a folder that holds files of these names, or None."""
    return next((known.name for known in ECOSYSTEMS.values() if known.detects(names)), None)
