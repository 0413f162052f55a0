"""The loop: takes events, looks again, decides, has the work done, tells what came of it. One thread owns all of it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from kiro_invoke.builds.built import CONFIGURATION, configuration
from kiro_invoke.changes.debounce import Batch, gathered
from kiro_invoke.engine.containers import Happened
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.decide import Way, decide
from kiro_invoke.loop.events import Done, EngineLost, Event, EventSource, Hint, Phase, Pressed
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.live import Order
from kiro_invoke.loop.results import Results
from kiro_invoke.loop.work import Job, Making, confirm, rebuild, update
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.errors import ConfigError, EngineError
from kiro_invoke.model.live import CONTAINER, Watching

#: Seconds between looks at the source of events, and the fewest between looks at everything.
_CHECK = 2.0
_RESCAN = 30.0
#: The share of a processor that looking at everything may take.
_SHARE = 0.005
#: How long a lock of git's index is waited for.
_GIT_SECONDS = 20.0
#: Seconds that a container that ended may take to come back by itself.
_COMEBACK = 1.5
_DECISIONS = 20


class Ending(Enum):
    """Why the loop ended."""

    QUIT = "quit"
    RELOAD = "reload"
    ONCE = "once"


@dataclass
class Driver:
    """The loop over some services. `post` puts events into `events` from any thread."""

    lanes: dict[str, Lane]
    root: Path
    files: dict[str, str]
    settings: Watching
    source: EventSource
    attaching: Attaching
    making: Making
    following: Following
    tell: told.Tell
    events: queue.SimpleQueue[Event]
    live: bool = True
    once: bool = False
    locks: Sequence[Path] = ()
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    batch: Batch | None = None
    paused: bool = False
    ending: Ending | None = None
    _rescan_at: float = 0.0
    _check_at: float = 0.0
    _ready: bool = False
    _comebacks: dict[str, float] = field(default_factory=dict)
    _engine_lost: bool = False

    def __post_init__(self) -> None:
        self._results = Results(self)

    def run(self) -> Ending:
        """Until somebody ends it, or the configuration is another. EngineError only before it has begun."""
        self._begin()
        while self.ending is None:
            self._turn()
        return self.ending

    # --- what happens

    def _begin(self) -> None:
        self._follow()
        self.attach_all()
        self._look_whole()
        for lane in self.lanes.values():
            self.advance(lane, reconciles=True)
            unreachable = "--no-live" if not self.live else lane.unreachable
            self.tell(told.Started(lane.name, lane.sight.revision, (), unreachable))
        self._check_ready()

    def _turn(self) -> None:
        event = self._next()
        if event is not None:
            self._handle(event)
        now = self.clock()
        if self.batch is not None and now >= self._batch_due():
            if self._git_is_busy(self.batch, now):
                return
            batch, self.batch = self.batch, None
            self._act_on(batch)
        if now >= self._check_at:
            self._check_at = now + _CHECK
            if trouble := self.source.check():
                self.tell(told.Note(f"events of files were lost ({trouble}): looking at everything"))
                self._hint(Hint(whole=True, why=trouble))
        if now >= self._rescan_at:
            self._look_whole()
            self._advance_all()
        for name in [name for name, at in self._comebacks.items() if now >= at]:
            self._gave_up_on(name)
        if self._engine_lost:
            self._reconnect()
        self._check_ready()

    def _next(self) -> Event | None:
        times = [self._check_at, self._rescan_at, *self._comebacks.values()]
        if self.batch is not None:
            times.append(self._batch_due())
        wait = max(0.0, min(times) - self.clock())
        if self._engine_lost:
            wait = min(wait, 0.5)
        try:
            return self.events.get(timeout=wait)
        except queue.Empty:
            return None

    def _handle(self, event: Event) -> None:
        match event:
            case Hint():
                self._hint(event)
            case Done(service, number, result):
                lane = self.lanes.get(service)
                if lane is not None and lane.work is not None and lane.work.number == number:
                    self._results.take(lane, result)
            case Phase(service, number, phase):
                lane = self.lanes.get(service)
                if lane is not None and lane.work is not None and lane.work.number == number:
                    self.phase(lane, phase)
            case Pressed(key):
                self._pressed(key)
            case Happened():
                self._happened(event)
            case EngineLost():
                if not self._engine_lost:
                    self._engine_lost = True
                    self.tell(told.Trouble("the engine is gone: waiting until it is back"))

    # --- files

    def _hint(self, hint: Hint) -> None:
        interesting = [path for path in hint.paths if self._concerns(path)]
        if interesting or hint.whole:
            self.batch = gathered(self.batch, interesting, self.clock(), whole=hint.whole, why=hint.why)

    def _concerns(self, path: str) -> bool:
        name = path.removeprefix(f"{self.root}/")
        return name in _CONFIGURATION or any(lane.sight.concerns(path) for lane in self.lanes.values())

    def _batch_due(self) -> float:
        assert self.batch is not None
        return self.batch.due(self.settings.quiet, self.settings.cap)

    def _git_is_busy(self, batch: Batch, now: float) -> bool:
        """A checkout is one change, not many: whatever it has written so far is no state that anybody wants."""
        if now - batch.first > _GIT_SECONDS or not any(lock.exists() for lock in self.locks):
            return False
        self.batch = Batch(batch.first, now, batch.paths, whole=True, why="git was at work")
        time.sleep(0.01)
        return True

    def _act_on(self, batch: Batch) -> None:
        if batch.why and batch.whole and not self.source.polling:
            self.tell(told.Note(f"looking at everything: {batch.why}"))
        if changed := self._changed_configuration():
            self.tell(told.Note(f"CONFIG: {', '.join(changed)} changed: starting anew with it"))
            self.ending = Ending.RELOAD
            return
        for lane in self.lanes.values():
            paths = [path for path in batch.paths if lane.sight.concerns(path)]
            if not paths and not batch.whole:
                continue
            before = lane.sight.side
            self._look(lane, None if batch.whole else paths)
            if lane.sight.side is before and not batch.whole:
                unchanged = self._unchanged(lane, paths)
                if unchanged:
                    self.tell(told.Unaffected(lane.name, unchanged, "content unchanged"))
            elif lane.first is None and lane.sight.side is not before:
                lane.first, lane.first_saved = batch.first, self.wall() - (self.clock() - batch.first)
            if lane.sight.side is not before:
                lane.is_stopped = False
        self._follow()
        self._advance_all()

    def _unchanged(self, lane: Lane, paths: Sequence[str]) -> tuple[str, ...]:
        """Of the paths that were hinted at, those that are there, and so hold what they held."""
        names = [path.removeprefix(f"{self.root}/") for path in paths]
        return tuple(
            sorted(name for name in names if lane.sight.unplaced(name) in lane.sight.snapshot.entries)
        )

    def _look(self, lane: Lane, paths: Sequence[str] | None) -> None:
        try:
            lane.sight.look(paths)
        except ConfigError as error:
            self.tell(told.Trouble(str(error), service=lane.name))

    def _look_whole(self) -> None:
        begun = self.clock()
        for lane in self.lanes.values():
            before = lane.sight.side
            self._look(lane, None)
            if lane.sight.side is not before and self._ready:
                lane.is_stopped = False
        cost = self.clock() - begun
        self._rescan_at = self.clock() + max(_RESCAN, cost / _SHARE)
        self._follow()

    def _follow(self) -> None:
        """Watch the folders as they are now. What is new may have changed before it was watched."""
        folders = {folder for lane in self.lanes.values() for folder in lane.sight.folders()}
        while self.source.follow({self.root, *folders}):
            for lane in self.lanes.values():
                self._look(lane, None)
            now = {folder for lane in self.lanes.values() for folder in lane.sight.folders()}
            if now == folders:
                break
            folders = now

    def _changed_configuration(self) -> list[str]:
        now = configuration(self.root, _CONFIGURATION)
        return sorted(
            name for name in now.keys() | self.files.keys() if now.get(name) != self.files.get(name)
        )

    # --- decisions

    def _advance_all(self) -> None:
        for lane in self.lanes.values():
            self.advance(lane)

    def advance(self, lane: Lane, *, reconciles: bool = False) -> None:
        """Do what is to be done for a service, if anything is."""
        if self._engine_lost:
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
            self.phase(lane, self._rest_phase(lane))
            return
        change = lane.change(rows, decision)
        if decision.way is not Way.CONFIRM:
            lane.decisions = [*lane.decisions, f"{lane.name}: {decision}"][-_DECISIONS:]
        lane.asked = False
        side = lane.sight.side
        work = lane.begin(change, side, self.clock(), reconciles=reconciles)
        job = Job(lane.name, work.number, work.brake, self.events.put)
        if decision.way in (Way.LIVE, Way.LIVE_IMAGE_BEHIND):
            attached, held = lane.attached, lane.held
            assert attached is not None
            assert held is not None
            installs = decision.kind is Kind.DEPENDENCY
            order = Order(lane.sight.context, lane.wanted(rows), lane.moves(rows), installs)
            job.begin(lambda: update(job, attached, lane.ledger, held, order))
        elif decision.way is Way.CONFIRM:
            attached = lane.attached
            job.begin(lambda: confirm(job, attached, self.making))
        else:
            starts, builds = decision.way is not Way.BEHIND, decision.way is not Way.START
            job.begin(lambda: rebuild(job, self.making, starts=starts, builds=builds))

    def _tell_ignored(self, lane: Lane, rows: Sequence[Classification]) -> None:
        ignored = {row.path: row.cause for row in rows if row.kind is Kind.IGNORED}
        new = sorted(ignored.keys() - lane.told_ignored)
        lane.told_ignored = frozenset(ignored)
        if new and self._ready:
            self.tell(told.Unaffected(lane.name, tuple(new), ignored[new[0]]))

    def _rest_phase(self, lane: Lane) -> str:
        if self.paused:
            return "paused"
        if lane.is_stopped or not lane.runs:
            return "stopped"
        return "broken" if lane.broken_since is not None else "serving"

    def phase(self, lane: Lane, phase: str) -> None:
        if lane.phase != phase:
            lane.phase = phase
            self.tell(told.Status(lane.name, phase, lane.sight.revision if phase == "serving" else ""))

    def _check_ready(self) -> None:
        """Ready when nothing is under way for the first time; with --once that is the end."""
        if any(lane.work for lane in self.lanes.values()) or self.batch is not None or self._engine_lost:
            return
        if not self._ready:
            self._ready = True
            folders = {folder for lane in self.lanes.values() for folder in lane.sight.folders()}
            self.tell(told.Ready(len(folders), tuple(self.lanes), self.source.polling))
        if self.once:
            self.ending = Ending.ONCE

    # --- keys and containers

    def _pressed(self, key: str) -> None:
        if key == "q":
            self.ending = Ending.QUIT
        elif key == "p":
            self.paused = not self.paused
            self.tell(told.Note("paused: changes wait" if self.paused else "going on"))
        elif key == "r":
            for lane in self.lanes.values():
                lane.asked, lane.is_stopped, lane.failed, lane.gave_up = True, False, None, None
        elif key == "w":
            lines = [line for lane in self.lanes.values() for line in lane.decisions]
            self.tell(told.Why(tuple(lines[-_DECISIONS:])))
        self._advance_all()

    def _happened(self, event: Happened) -> None:
        lane = self.lanes.get(event.service)
        if lane is None:
            self.following.happened(event)
            return
        self.following.happened(event)
        if lane.work is not None and self._restarts_it(lane):
            return
        is_current = lane.facts is not None and lane.facts.id == event.container
        if event.action == "start":
            self._comebacks.pop(lane.name, None)
            attached = is_current and lane.attached is not None and not lane.attached.session.is_lost
            if lane.work is None and not attached:  # work finds out by itself
                self.attach(lane)
                self.advance(lane, reconciles=True)
        elif is_current and lane.facts is not None:
            # its session has ended with it, and work that needs it ends too
            self.attaching.detach(lane)
            lane.facts = replace(lane.facts, running=False)
            lane.is_stopped = True
            self._comebacks[lane.name] = self.clock() + _COMEBACK

    def _restarts_it(self, lane: Lane) -> bool:
        """Whether the work under way starts the container itself."""
        assert lane.work is not None
        live = lane.attached.live.restart if lane.attached else ""
        return lane.work.change.way in (Way.IMAGE, Way.START) or live == CONTAINER

    def _gave_up_on(self, name: str) -> None:
        """A container ended and did not come back."""
        del self._comebacks[name]
        lane = self.lanes[name]
        self.attach(lane)
        if lane.runs:
            self.advance(lane, reconciles=True)
            return
        lane.is_stopped = True
        code = f" (exit code {lane.facts.exit_code})" if lane.facts else ""
        self.tell(
            told.Stopped(name, f"its container ended{code}; the next save starts it again, or the key r")
        )
        self.phase(lane, "stopped")

    def attach(self, lane: Lane) -> None:
        """Learn about a service's container anew."""
        try:
            self.attaching.attach(lane, self.attaching.look().get(lane.name, []))
        except EngineError:
            self.events.put(EngineLost())

    def attach_all(self) -> None:
        found = self.attaching.look()
        for lane in self.lanes.values():
            self.attaching.attach(lane, found.get(lane.name, []))

    def _reconnect(self) -> None:
        """Ask whether the engine is back; if it is, learn everything anew."""
        for lane in self.lanes.values():
            if lane.work is not None:
                lane.work.brake.pull()
        try:
            self.attach_all()
        except EngineError:
            return
        self._engine_lost = False
        self._comebacks.clear()
        for lane in self.lanes.values():
            lane.is_stopped = False
        self.following.restart()
        self.tell(told.Note("the engine is back"))
        self._look_whole()
        for lane in self.lanes.values():
            self.advance(lane, reconciles=True)


#: What the loop itself is made from; Tilt's file is not.
_CONFIGURATION = tuple(name for name in CONFIGURATION if name != "Tiltfile")
