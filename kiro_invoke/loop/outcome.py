"""How a live update ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Spent:
    """Seconds of an update's parts."""

    sync: float = 0.0
    build: float = 0.0
    restart: float = 0.0


@dataclass(frozen=True)
class Tested:
    """How the test after serving ended."""

    ok: bool
    seconds: float
    output: bytes = b""


@dataclass(frozen=True)
class Served:
    """It serves what the order says. `output` is what the build printed."""

    spent: Spent
    output: bytes = b""
    tested: Tested | None = None
    #: seconds that the test took
    testing: float = 0.0


@dataclass(frozen=True)
class Broken:
    """It does not build, or not start. `still_serves`: what ran before runs on."""

    what: str
    output: bytes
    spent: Spent
    still_serves: bool = True


@dataclass(frozen=True)
class Impossible:
    """It cannot be done live, and why."""

    why: str


@dataclass(frozen=True)
class Cancelled:
    """Something newer came."""


@dataclass(frozen=True)
class Outdated:
    """A file is no longer as it was looked at: nothing was sent."""


Outcome = Served | Broken | Impossible | Cancelled | Outdated
