"""What is to be built, and why: values that compare and print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Target:
    """One stage of one Dockerfile to build. Without `tag` it is built for the cache alone."""

    name: str
    service: str
    context: Path
    dockerfile: Path
    stage: str
    cause: str
    tag: str | None = None
    #: The Dockerfile's text where the file itself cannot be used as it is (see planner).
    inline: str | None = None
    #: Stages that run although the engine has them in its cache.
    uncached: tuple[str, ...] = ()
    #: What an image is built for; empty: for the platform of whatever builds it.
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sent:
    """What the engine gets for one Dockerfile of a service. `revision` is the hash of all sources in it.

    `skeleton` is the folder that takes the place of its stage `kiro-skeleton` (None: it has none that one may replace).
    """

    context: Path
    dockerfile: Path
    revision: str
    skeleton: Path | None = None


#: By service and the person's own Dockerfile.
Sending = Mapping[tuple[str, Path], Sent]


@dataclass(frozen=True)
class BuildPlan:
    """All targets of one build, solved by the engine as one graph."""

    targets: tuple[Target, ...]

    def __str__(self) -> str:
        return "\n".join(
            f"{t.name}: {t.service} {t.dockerfile.name} stage {t.stage}"
            f"{f' -> {t.tag}' if t.tag else ' (cache only)'}: {t.cause}"
            for t in self.targets
        )
