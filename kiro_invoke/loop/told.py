"""What the loop tells: values that a screen, or a line of JSON, is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kiro_invoke.loop.decide import Way
from kiro_invoke.loop.outcome import Tested
from kiro_invoke.model.change import Kind


@dataclass(frozen=True)
class Change:
    """A change of one service as it was decided on. `paths` are from the repository's root."""

    service: str
    paths: tuple[str, ...]
    kind: Kind
    cause: str
    way: Way


@dataclass(frozen=True)
class Seconds:
    """Where the time went, from the first event to the answer. `build` is an image's where one was built."""

    detect: float = 0.0
    sync: float = 0.0
    build: float = 0.0
    restart: float = 0.0
    total: float = 0.0


@dataclass(frozen=True)
class Started:
    """A service is watched from now on."""

    service: str
    revision: str
    #: why none of its changes can be live, "" if they can
    unreachable: str = ""
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Served:
    """A change is served. `reconciled`: nobody saved it now, the container was behind."""

    change: Change
    seconds: Seconds
    revision: str
    reconciled: bool = False
    output: bytes = b""
    tested: Tested | None = None


@dataclass(frozen=True)
class Broken:
    """A change does not build, or not run. `serves_old_since`: the time (epoch) of the first save that is not served;
    None where nothing is served at all. `seconds` are known of a live update.
    """

    change: Change
    what: str
    output: bytes = b""
    serves_old_since: float | None = None
    fix: str = ""
    seconds: Seconds = Seconds()


@dataclass(frozen=True)
class Superseded:
    """What was under way for a change was ended: something newer came."""

    change: Change


@dataclass(frozen=True)
class Unaffected:
    """Files were touched and nothing is to be done."""

    service: str
    paths: tuple[str, ...]
    cause: str


@dataclass(frozen=True)
class Refreshed:
    """The image was built behind what runs, for the next start."""

    service: str
    seconds: float


@dataclass(frozen=True)
class Stopped:
    """A container ended, and not by us."""

    service: str
    cause: str


@dataclass(frozen=True)
class Trouble:
    """Something is wrong that is no service's build. `fix` is what to do, "" where nothing is to be done."""

    message: str
    fix: str = ""
    service: str = ""


@dataclass(frozen=True)
class Note:
    """Something a person may want to know."""

    message: str


@dataclass(frozen=True)
class Ready:
    """All is up to date but what is broken, and changes are waited for; `ends`: or it is over."""

    folders: int
    services: tuple[str, ...]
    polling: str = ""
    broken: tuple[str, ...] = ()
    ends: bool = False


@dataclass(frozen=True)
class Status:
    """How a service stands now, for a line that is always there: `phase` is serving, building, broken, ..."""

    service: str
    phase: str
    revision: str = ""


@dataclass(frozen=True)
class Why:
    """The last decisions, newest last."""

    lines: tuple[str, ...] = field(default=())


Told = (
    Started
    | Served
    | Broken
    | Superseded
    | Unaffected
    | Refreshed
    | Stopped
    | Trouble
    | Note
    | Ready
    | Status
    | Why
)
Tell = Callable[[Told], None]
