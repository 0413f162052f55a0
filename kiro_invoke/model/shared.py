"""What a team shares: a builder of buildx's, and a cache that builds read and fill."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

#: Seconds that a builder may be silent, and not answer when it is asked, before the work goes elsewhere.
PATIENCE = 60.0
#: Seconds that the shared cache may keep a build waiting.
CACHE_PATIENCE = 20.0


@dataclass(frozen=True)
class Builder:
    """A builder of buildx's: one that is there by its `name`, or with a `driver` one that is made when it is missing.

    `endpoints` are its nodes', `options` the driver's own. `patience`: seconds without an answer.
    """

    name: str
    driver: str = ""
    endpoints: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    patience: float = PATIENCE


def made_name(driver: str, endpoints: tuple[str, ...], options: tuple[tuple[str, str], ...]) -> str:
    """The name of a builder that is made: the same for the same settings, so it is made once."""
    text = repr((driver, endpoints, tuple(sorted(options))))
    return f"kiro-{driver}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class CacheEntry:
    """A place of a shared cache as buildx takes it: type and attributes, in which `{service}` and others may stand."""

    kind: str
    attributes: tuple[tuple[str, str], ...]

    @property
    def told(self) -> str:
        """It on one line, for a person."""
        return ",".join((f"type={self.kind}", *(f"{name}={value}" for name, value in self.attributes)))


@dataclass(frozen=True)
class SharedCache:
    """`sources` are read, the nearest first; `target` is filled by `warm-cache --push` alone.

    `default_branch`: whose cache is read where the branch has none ("": what git and the CI's variables tell).
    """

    sources: tuple[CacheEntry, ...] = ()
    target: CacheEntry | None = None
    mode: str = "max"
    compression: str = "zstd"
    default_branch: str = ""
    patience: float = CACHE_PATIENCE
