"""What the loop is told by the world: files, containers, its own work, a person at the keys."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kiro_invoke.engine.containers import Happened
from kiro_invoke.model.errors import KiroError


@dataclass(frozen=True)
class Hint:
    """Something may have changed at these absolute paths; with `whole` anywhere, and `why` says why that is thought."""

    paths: tuple[str, ...] = ()
    whole: bool = False
    why: str = ""


@dataclass(frozen=True)
class Done:
    """Work number `number` of a service came to its end; `result` is its own."""

    service: str
    number: int
    result: object


@dataclass(frozen=True)
class Phase:
    """What work is doing now."""

    service: str
    number: int
    phase: str


@dataclass(frozen=True)
class Pressed:
    """A key: r rebuild, p pause, w why, q quit."""

    key: str


@dataclass(frozen=True)
class EngineLost:
    """The engine tells of nothing any more."""


Event = Hint | Done | Phase | Pressed | Happened | EngineLost


class LimitReached(KiroError):
    """The system watches no more folders for this user."""


class EventSource(Protocol):
    """Tells of changes in folders: by Hints, which may be too many or too few."""

    #: how it works where it is not told by the system, "" where it is
    polling: str

    def follow(self, folders: Collection[Path], /) -> bool:
        """Watch exactly these folders; whether any is new: what happened in it until now was not seen.

        LimitReached if the system does not allow it.
        """

    def check(self) -> str:
        """What is wrong with it, "" if it works; it is mended then, and what happened meanwhile was not seen."""

    def close(self) -> None: ...
