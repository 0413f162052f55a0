"""What is done for a service beside the loop, in a thread of its own, and what comes of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kiro_invoke.builds.executor import Stopped
from kiro_invoke.engine.brake import Brake
from kiro_invoke.loop.events import Done, Event, Phase
from kiro_invoke.loop.ledger import Held, Ledger
from kiro_invoke.loop.live import SERVING_SECONDS, Attached, LiveUpdate, Order, not_serving
from kiro_invoke.loop.outcome import Cancelled, Outcome
from kiro_invoke.loop.session import CANCELLED, SessionLost
from kiro_invoke.model.errors import KiroError


class Making(Protocol):
    """How images and containers are made: the parts of the loop that are other commands' work too."""

    def build(self, service: str, brake: Brake, on_phase: Callable[[str], None]) -> None:
        """Build a service's development image; Stopped by the brake, BuildFailed or another KiroError."""

    def start(self, service: str) -> None:
        """Start its container, made anew where the image is another."""

    def condition(self, service: str) -> str:
        """What the engine's own health check says of it: starting, healthy, unhealthy; "" without one."""


@dataclass(frozen=True)
class Updated:
    """How a live update ended, and what the container holds."""

    outcome: Outcome
    held: Held


@dataclass(frozen=True)
class Made:
    """An image was built, a container started, or both; seconds of each."""

    build: float = 0.0
    start: float = 0.0


@dataclass(frozen=True)
class Confirmed:
    """A container was seen to serve, or why not."""

    trouble: str = ""


@dataclass(frozen=True)
class Failed:
    """It did not work out."""

    error: KiroError


@dataclass(frozen=True)
class Lost:
    """The container, or the session in it, went away meanwhile."""


Result = Updated | Made | Confirmed | Failed | Lost | Cancelled


@dataclass(frozen=True)
class Job:
    """Where a thread reports to: the loop's queue, for work `number` of a service."""

    service: str
    number: int
    brake: Brake
    post: Callable[[Event], None]

    def begin(self, work: Callable[[], Result]) -> threading.Thread:
        """Do it in a thread, and report what came of it."""
        thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        thread.start()
        return thread

    def phase(self, phase: str) -> None:
        self.post(Phase(self.service, self.number, phase))

    def _run(self, work: Callable[[], Result]) -> None:
        try:
            result: Result = work()
        except SessionLost:
            result = Lost()
        except Stopped:
            result = Cancelled()
        except KiroError as error:
            result = Cancelled() if self.brake.pulled else Failed(error)
        except Exception as error:  # whatever it is, the loop goes on, and says it
            result = Failed(KiroError(f"{type(error).__name__}: {error}"))
        self.post(Done(self.service, self.number, result))


def update(job: Job, attached: Attached, ledger: Ledger, held: Held, order: Order) -> Result:
    """A live update."""
    one = LiveUpdate(attached, ledger, held, job.brake, job.phase)
    return Updated(one.run(order), one.held)


def rebuild(job: Job, making: Making, *, starts: bool, builds: bool = True) -> Result:
    """A new image, and with `starts` a container of it."""
    begun = built = time.monotonic()
    if builds:
        making.build(job.service, job.brake, job.phase)
        built = time.monotonic()
    if starts:
        if job.brake.pulled:
            return Cancelled()
        job.phase("starting")
        making.start(job.service)
    return Made(built - begun, time.monotonic() - built)


def confirm(job: Job, attached: Attached | None, making: Making) -> Result:
    """Wait until it serves: as its health check or its ports say, asked in the container where that can be."""
    job.phase("starting")
    if attached is None:
        return _by_the_engine(job, making)
    answer = attached.session.ask("act", attached.serving().encode(), brake=job.brake)
    if answer.status == CANCELLED:
        return Cancelled()
    return Confirmed("" if answer.ok else not_serving(answer))


def _by_the_engine(job: Job, making: Making) -> Result:
    end = time.monotonic() + SERVING_SECONDS
    while (condition := making.condition(job.service)) == "starting":
        if job.brake.pulled:
            return Cancelled()
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return Confirmed(
        "" if condition in ("", "healthy") else f"does not serve: its health check says {condition}"
    )
