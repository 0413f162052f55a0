"""What a build did: steps with times and the engine's own verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.model.change import Kind


@dataclass(frozen=True)
class Step:
    """One step as the engine reported it. `started` and `completed` are seconds since the epoch.

    `seconds` is the time it ran (0.0 for a cached step). `service` is "" when the step belongs to no target.
    """

    service: str
    stage: str
    text: str
    cached: bool
    seconds: float = 0.0
    started: float = 0.0
    completed: float = 0.0


@dataclass(frozen=True)
class FailedStep:
    """The step that a build failed in: whose, in which stage, and its last lines (up to 200).

    A step that services share is each one's.
    """

    services: tuple[str, ...]
    dockerfile: Path
    stage: str
    printed: tuple[str, ...]


@dataclass(frozen=True)
class StageRecord:
    """A stage of an image. `cached` means that none of its steps ran; `seconds` is the sum of those that did.

    `started` and `completed` (seconds since the epoch; 0.0 where cached) tell which stages ran side by side.
    """

    name: str
    seconds: float
    cached: bool
    started: float = 0.0
    completed: float = 0.0


@dataclass(frozen=True)
class ImageRecord:
    """An image that was built, with every stage of its Dockerfile that the build needed, in file order.

    `profile` is "dev" or "prod"; `steps` are those of the build that are its stages'.
    """

    service: str
    image: str
    dockerfile: str
    stages: tuple[StageRecord, ...]
    profile: str = ""
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class ImageChange:
    """The strongest change since an image's last build: its kind, and its path from the repository's root.

    `kind` is None where there was no build before. `revision` is the hash of the sources that were sent.
    """

    service: str
    profile: str
    kind: Kind | None
    cause: str
    path: str = ""
    revision: str = ""


@dataclass(frozen=True)
class BaseRecord:
    """A base image and how it came to be here: present, pulled or stand-in (which `holds` what)."""

    ref: str
    status: str
    holds: str = ""


@dataclass(frozen=True)
class BuildRecord:
    """One whole build: `seconds` of wall-clock time, the steps behind the stages, the cache's size in bytes.

    `cache_mounts` is the part of it that cache mounts hold, None where it was not read yet. `at` is when the engine was
    asked, in seconds since the epoch; `context_bytes` what it was sent.
    """

    seconds: float
    base_images: tuple[BaseRecord, ...]
    images: tuple[ImageRecord, ...]
    steps: tuple[Step, ...]
    cache_bytes: int
    cache_mounts: int | None = None
    changes: tuple[ImageChange, ...] = ()
    at: float = 0.0
    context_bytes: int = 0
    #: Places of the shared cache that could not be read, and those that could not be filled, each with the reason.
    unread: tuple[str, ...] = ()
    unpushed: tuple[str, ...] = ()

    @property
    def began(self) -> float:
        """When the first step that ran began, in seconds since the epoch."""
        return min((step.started for step in self.steps if not step.cached and step.started), default=0.0)
