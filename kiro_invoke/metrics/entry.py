"""What is remembered of a build: values that compare and print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from kiro_invoke.model.record import Step

#: Seconds in which a base image is looked up that need not be pulled.
_LOOKED_UP = 0.2
#: How a build came to what it made.
IMAGE, LIVE = "image", "live"
#: What is said of a dependency layer, before a build and after it. "" where nothing can be said.
CACHED, RAN = "cached", "ran"
#: The command whose builds are measurements: they are no part of what is usual here.
MEASURING = "test-build-performance"


@dataclass(frozen=True)
class ImageEntry:
    """What one build made for one service.

    `kind`, `cause` and `file` tell the strongest change that led to it ("" where none is known). `predicted` and
    `verdict` are what was said of its dependency layer beforehand, and what the engine did: CACHED, RAN or "".
    `seconds` is the service's own time, None where it took none of a build of several. `cached` and `ran` count
    steps. `variant` and `scenario` are those of a measurement, else "".
    """

    service: str
    profile: str
    kind: str = ""
    cause: str = ""
    file: str = ""
    revision: str = ""
    predicted: str = ""
    verdict: str = ""
    seconds: float | None = None
    cached: int = 0
    ran: int = 0
    variant: str = ""
    scenario: str = ""


@dataclass(frozen=True)
class Entry:
    """One build. `began` is in seconds since the epoch, `seconds` wall time.

    `way` is IMAGE or LIVE. `cache_layers` and `cache_mounts` are the engine's cache in bytes as it was last read,
    `context_bytes` what was sent to the engine; None where it is not known. `ref` is the engine's own name of a build
    that was made outside, `run` tells the measurement that it belongs to; else they are "".
    """

    began: float
    seconds: float
    command: str
    ok: bool = True
    message: str = ""
    way: str = IMAGE
    engine: str = ""
    tool: str = ""
    cache_layers: int | None = None
    cache_mounts: int | None = None
    context_bytes: int | None = None
    ref: str = ""
    run: str = ""
    images: tuple[ImageEntry, ...] = ()
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class BuildRow:
    """A build as it is read again, without its images and steps."""

    id: int
    began: float
    seconds: float
    command: str
    ok: bool
    message: str
    way: str
    cache_layers: int | None
    cache_mounts: int | None
    context_bytes: int | None


@dataclass(frozen=True)
class ImageRow:
    """An image of a build as it is read again, with what its build was."""

    build: int
    began: float
    ok: bool
    command: str
    way: str
    image: ImageEntry


@dataclass(frozen=True)
class StageRow:
    """How long a stage ran in one build, in seconds: the sum of its steps that were not cached."""

    build: int
    service: str
    stage: str
    seconds: float


class Group(NamedTuple):
    """Builds that can be compared: of one service and profile, made in one way, for one kind of change."""

    service: str
    profile: str
    way: str
    kind: str

    @property
    def title(self) -> str:
        """It without its service: SOURCE; SOURCE, live; DEPENDENCY (prod)."""
        profile = "" if self.profile in ("", "dev") else f" ({self.profile})"
        return f"{self.kind or 'no kind known'}{profile}{', live' if self.way == LIVE else ''}"


class Timed(NamedTuple):
    """When a build began (epoch), a service's own seconds of it, and which build it was."""

    began: float
    seconds: float
    build: int


class Counted(NamedTuple):
    """A service's builds, those of them that failed, its steps by the cache's verdict, predictions with a verdict."""

    service: str
    builds: int
    failed: int
    cached: int
    ran: int
    checked: int


class Tally(NamedTuple):
    """A cause that had something built again: how many `times`, in the `timed` ones of these how many seconds.

    `latest` is the last build that it led to.
    """

    service: str
    profile: str
    kind: str
    file: str
    cause: str
    times: int
    timed: int
    seconds: float
    latest: int


class Wrong(NamedTuple):
    """A prediction that the engine did not agree with (see ImageEntry)."""

    build: int
    began: float
    service: str
    profile: str
    kind: str
    file: str
    cause: str
    predicted: str
    verdict: str


class CacheSize(NamedTuple):
    """The engine's cache in bytes, as it was read when a build ended; None for what was not."""

    began: float
    layers: int | None
    mounts: int | None


class Measured(NamedTuple):
    """One measured build of a service. `seconds` is its own time, `whole` the build's; `ok` whether it succeeded.

    `run` tells the measurement that it belongs to ("" where that was not noted).
    """

    began: float
    ok: bool
    whole: float
    service: str
    scenario: str
    variant: str
    seconds: float | None
    run: str = ""


@dataclass(frozen=True)
class Window:
    """Which builds are meant: those that began at a time (epoch) or later, and of these the last ones."""

    after: float = 0.0
    last: int | None = None


def as_kept(step: Step) -> Step:
    """A step as it is remembered: a base image that is here costs nothing, though the engine calls none cached."""
    is_here = step.text.startswith("FROM ") and step.seconds < _LOOKED_UP
    return replace(step, cached=True, seconds=0.0) if is_here else step


def own_seconds(steps: Sequence[Step], began: float, seconds: float, *, alone: bool) -> float | None:
    """A service's time of a build: all of it where it is alone, else until its last step that ran had ended."""
    if alone:
        return seconds
    ended = max((step.completed for step in steps if not step.cached and step.completed), default=0.0)
    return round(min(max(ended - began, 0.0), seconds), 3) if ended else None
