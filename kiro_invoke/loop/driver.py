"""The loop: takes events, has files looked at, decides, has the work done. One thread owns all that is known."""

from __future__ import annotations

import ctypes
import gc
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from kiro_invoke.engine.containers import Happened
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.decide import Decision, Way, decide
from kiro_invoke.loop.events import Done, EngineLost, Event, Hint, Phase, Pressed
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.live import Order
from kiro_invoke.loop.looking import Looking
from kiro_invoke.loop.outside import Outside
from kiro_invoke.loop.results import Results
from kiro_invoke.loop.work import Job, Making, Result, confirm, rebuild, update
from kiro_invoke.model.change import Classification, Kind

_DECISIONS = 20


class Ending(Enum):
    """Why the loop ended."""

    QUIT = "quit"
    RELOAD = "reload"
    ONCE = "once"


@dataclass
class Driver:
    """The loop over some services. Any thread may put events into `events`."""

    lanes: Mapping[str, Lane]
    looking: Looking
    attaching: Attaching
    making: Making
    following: Following
    tell: told.Tell
    events: queue.SimpleQueue[Event]
    #: what is wrong with the configuration as it lies on disk, "" if it can be used
    misconfigured: Callable[[], str] = lambda: ""
    live: bool = True
    once: bool = False
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    paused: bool = False
    ending: Ending | None = None
    is_ready: bool = False

    #: where each service is reached
    urls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outside = Outside(self, self.lanes, self.attaching, self.following, self.clock)
        self._results = Results(self)

    def run(self) -> Ending:
        """Until somebody ends it, or the configuration is another. EngineError only before it has begun."""
        self.looking.follow()
        self.outside.attach_all()
        self.looking.look_at_everything()
        self.looking.begun = True
        for lane in self.lanes.values():
            unreachable = "" if self.live else "--no-live"
            urls = tuple(self.urls.get(lane.name, ()))
            self.tell(told.Started(lane.name, lane.sight.revision, unreachable or lane.unreachable, urls))
            self.advance(lane, reconciles=True)
        self._check_ready()
        while self.ending is None:
            self._turn()
        return self.ending

    def _turn(self) -> None:
        event = self._next()
        if event is not None:
            self._handle(event)
        batch = self.looking.ready()
        if batch is not None:
            self.looking.look(batch)
            if self._reloads():
                return
            self._advance_all()
        now = self.clock()
        if now >= self.looking.check_at:
            self.looking.check()
            self.outside.check()
        if now >= self.looking.rescan_at and self.looking.may_look:
            self.looking.look_at_everything()
            if self._reloads():
                return
            self._advance_all()
        self.outside.look()
        self._check_ready()

    def _reloads(self) -> bool:
        """Whether the configuration is another one, which can be used."""
        changed = self.looking.changed_configuration()
        if not changed:
            return False
        if trouble := self.misconfigured():
            self.looking.accept_configuration()
            self.tell(told.Trouble(f"{trouble} (going on with the configuration of before)"))
            return False
        self.tell(told.Note(f"CONFIG: {', '.join(changed)} changed: starting anew with it"))
        self.ending = Ending.RELOAD
        return True

    def _next(self) -> Event | None:
        wait = min(self.looking.next_time, self.outside.next_time) - self.clock()
        try:
            return self.events.get(timeout=max(0.0, wait))
        except queue.Empty:
            return None

    def _handle(self, event: Event) -> None:
        match event:
            case Hint():
                self.looking.hint(event)
            case Done(service, number, result):
                if (lane := self._working(service, number)) is not None:
                    self._results.take(lane, result)
                    if not any(each.work for each in self.lanes.values()):
                        _give_back()
            case Phase(service, number, phase):
                if (lane := self._working(service, number)) is not None:
                    self._phase(lane, phase)
            case Pressed(key):
                self._pressed(key)
            case Happened():
                self.outside.happened(event)
            case EngineLost():
                self.outside.lost_engine()

    def _working(self, service: str, number: int) -> Lane | None:
        """The service whose work of that number is under way; None if it is not, or not any more."""
        lane = self.lanes.get(service)
        return lane if lane is not None and lane.work is not None and lane.work.number == number else None

    def _advance_all(self) -> None:
        for lane in self.lanes.values():
            self.advance(lane)

    def advance(self, lane: Lane, *, reconciles: bool = False) -> None:
        """Do what is to be done for a service, if anything is."""
        if self.outside.engine_lost:
            return
        if lane.work is not None:
            if lane.is_superseded() or (lane.asked and lane.work.change.way is Way.BEHIND):
                lane.work.brake.pull()
            return
        rows = lane.rows()
        standing = lane.standing(rows, paused=self.paused, live=self.live)
        decision = decide(standing)
        self._tell_ignored(lane, rows)
        if decision.way is Way.NOTHING:
            if not standing.rests:
                lane.first = lane.first_saved = None
            self._phase(lane, lane.rest_phase(paused=self.paused))
            return
        if decision.way is Way.IMAGE and self._results.is_in_vain(lane, rows, decision):
            return
        lane.asked = False
        if decision.way is not Way.CONFIRM:
            stamp = time.strftime("%H:%M:%S", time.localtime(self.wall()))
            lane.decisions = [*lane.decisions, f"{stamp}  {lane.name}: {decision}"][-_DECISIONS:]
        work = lane.begin(lane.change(rows, decision), self.clock(), reconciles=reconciles)
        job = Job(lane.name, work.number, work.brake, self.events.put)
        lane.thread = job.begin(self._what(lane, rows, decision, job))

    def _what(
        self, lane: Lane, rows: Sequence[Classification], decision: Decision, job: Job
    ) -> Callable[[], Result]:
        """The work itself: it takes all that it needs with it, for the lane is this thread's."""
        attached, held, making = lane.attached, lane.held, self.making
        match decision.way:
            case Way.LIVE | Way.LIVE_IMAGE_BEHIND:
                assert attached is not None
                assert held is not None
                order = Order(
                    lane.sight.context,
                    lane.wanted(rows),
                    lane.moves(rows),
                    installs=decision.kind is Kind.DEPENDENCY or held.owes_install,
                    revision=lane.sight.revision,
                    was_served=held.served and not held.doubt,
                )
                return lambda: update(job, attached, lane.ledger, held, order)
            case Way.CONFIRM:
                return lambda: confirm(job, attached, making)
            case Way.START:
                return lambda: rebuild(job, making, starts=True, builds=False)
            case Way.BEHIND:
                return lambda: rebuild(job, making, starts=False)
        return lambda: rebuild(job, making, starts=True)

    def _tell_ignored(self, lane: Lane, rows: Sequence[Classification]) -> None:
        ignored = {row.path: row.cause for row in rows if row.kind is Kind.IGNORED}
        new = sorted(ignored.keys() - lane.told_ignored)
        lane.told_ignored = frozenset(ignored)
        if new and self.is_ready:
            self.tell(told.Unaffected(lane.name, tuple(new), ignored[new[0]]))

    def _phase(self, lane: Lane, phase: str) -> None:
        if lane.phase != phase:
            lane.phase = phase
            self.tell(told.Status(lane.name, phase, lane.sight.revision if phase == "serving" else ""))

    def _check_ready(self) -> None:
        """Ready when nothing is under way for the first time; with `once` that is the end."""
        is_busy = any(lane.work for lane in self.lanes.values()) or self.looking.batch is not None
        if is_busy or self.outside.engine_lost:
            return
        if not self.is_ready:
            self.is_ready = True
            _give_back()
            folders = len(self.looking.folders())
            broken = tuple(lane.name for lane in self.lanes.values() if lane.broken_since is not None)
            polling = self.looking.source.polling
            self.tell(told.Ready(folders, tuple(self.lanes), polling, broken, ends=self.once))
        if self.once:
            self.ending = Ending.ONCE

    def _pressed(self, key: str) -> None:
        if key == "q":
            self.ending = Ending.QUIT
        elif key == "p":
            self.paused = not self.paused
            self.tell(told.Note("paused: changes wait" if self.paused else "going on"))
            for lane in self.lanes.values():
                lane.first = None
        elif key == "r":
            self.tell(told.Note("building the images, from the cache where nothing changed"))
            for lane in self.lanes.values():
                lane.ask()
        elif key == "w":
            lines = sorted(line for lane in self.lanes.values() for line in lane.decisions)
            self.tell(told.Why(tuple(lines[-_DECISIONS:])))
        self._advance_all()


def _give_back() -> None:
    """Give the system back what the start took, and the loop does not need."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library than glibc has no such function
        ctypes.CDLL(None).malloc_trim(0)
