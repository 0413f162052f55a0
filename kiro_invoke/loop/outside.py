"""What happens to containers and the engine from outside: they are restarted, end, come back, or are gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from kiro_invoke.engine.containers import Happened
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.decide import Way
from kiro_invoke.loop.following import Following
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.session import SessionLost
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.live import CONTAINER

if TYPE_CHECKING:
    from kiro_invoke.loop.driver import Driver

#: Seconds that a container that ended may take to come back by itself.
_COMEBACK = 1.5
#: How often a container is attached to that ends meanwhile.
_TRIES = 3


@dataclass
class Outside:
    """Keeps what is known of containers up to date."""

    driver: Driver
    lanes: Mapping[str, Lane]
    attaching: Attaching
    following: Following
    clock: Callable[[], float] = time.monotonic
    engine_lost: bool = False
    _comebacks: dict[str, float] = field(default_factory=dict)

    @property
    def next_time(self) -> float:
        """When something is to be done even if nothing happens."""
        times = list(self._comebacks.values())
        if self.engine_lost:
            times.append(self.clock() + 0.5)
        return min(times, default=float("inf"))

    def happened(self, event: Happened) -> None:
        """Something happened to a container of the project, be it by us or not."""
        self.following.happened(event)
        lane = self.lanes.get(event.service)
        if lane is None or (lane.work is not None and self._restarts_it(lane)):
            return
        is_current = lane.facts is not None and lane.facts.id == event.container
        if event.action == "start":
            self._comebacks.pop(lane.name, None)
            lane.failed = None  # it may have failed for what the restart has mended
            lane.was_restarted = lane.work is not None
            is_attached = is_current and lane.attached is not None and not lane.attached.session.is_lost
            if lane.work is None and not is_attached:  # work finds out by itself
                self.driver.tell(
                    told.Note(f"{lane.name}: its container was started from outside, and is looked at anew")
                )
                self.attach(lane)
                self.driver.advance(lane, reconciles=True)
        elif is_current and (not lane.is_stopped or lane.name in self._comebacks):  # else it was told
            self._ended(lane)

    def look(self) -> None:
        """See to what was waited for."""
        now = self.clock()
        for name in [name for name, at in self._comebacks.items() if now >= at]:
            self._gave_up_on(name)
        if self.engine_lost:
            self._reconnect()

    def check(self) -> None:
        """Attach again where a session broke off and nobody told of it."""
        for lane in self.lanes.values():
            is_lost = lane.attached is not None and lane.attached.session.is_lost
            if is_lost and lane.work is None and lane.name not in self._comebacks and not self.engine_lost:
                self.regain(lane)
                self.driver.advance(lane, reconciles=True)

    def lost_engine(self) -> None:
        """The engine tells of nothing any more."""
        if not self.engine_lost:
            self.engine_lost = True
            self.driver.tell(told.Trouble("the engine is gone: waiting until it is back"))
            for lane in self.lanes.values():
                if lane.work is not None:
                    lane.work.brake.pull()

    def attach(self, lane: Lane) -> None:
        """Learn about a service's container anew."""
        for _ in range(_TRIES):
            try:
                self.attaching.attach(lane, self.attaching.look().get(lane.name, []))
            except SessionLost:
                continue  # it ended meanwhile, or was made anew
            except EngineError:
                self.lost_engine()
            return
        self.attaching.detach(lane)
        lane.unreachable = "each session with its container breaks off"

    def regain(self, lane: Lane) -> None:
        """Attach again where a session broke off: that its container ended, the engine may tell only later."""
        ran = lane.runs
        self.attach(lane)
        if ran and not lane.runs:
            self._ended(lane)

    def attach_all(self) -> None:
        """Learn about all of them. EngineError if there is no engine."""
        self.attaching.look()
        for lane in self.lanes.values():
            self.attach(lane)

    def _restarts_it(self, lane: Lane) -> bool:
        """Whether the work under way starts the container itself."""
        assert lane.work is not None
        way = lane.work.change.way
        if way in (Way.IMAGE, Way.START) or lane.attached is None:
            return way in (Way.IMAGE, Way.START)
        installs = way is Way.LIVE_IMAGE_BEHIND and not lane.attached.place.is_supervised
        return installs or lane.attached.live.restart == CONTAINER

    def _ended(self, lane: Lane) -> None:
        """Its container ended, and may come back by itself. Its session, and work that needs it, end with it."""
        self.attaching.detach(lane)
        if lane.facts is not None:
            lane.facts = replace(lane.facts, running=False)
        lane.is_stopped = True
        self._comebacks[lane.name] = self.clock() + _COMEBACK

    def _gave_up_on(self, name: str) -> None:
        """A container ended, and did not come back."""
        del self._comebacks[name]
        lane = self.lanes[name]
        self.attach(lane)
        if lane.runs:
            self.driver.advance(lane, reconciles=True)
            return
        lane.is_stopped = True
        code = f" (exit code {lane.facts.exit_code})" if lane.facts else ""
        cause = f"its container ended{code}; the next save starts it again, or the key r"
        self.driver.tell(told.Stopped(name, cause))
        self.driver.advance(lane)

    def _reconnect(self) -> None:
        """Ask whether the engine is back; if it is, learn everything anew."""
        try:
            self.attach_all()
            self.following.restart()
        except EngineError:
            return
        self.engine_lost = False
        self._comebacks.clear()
        for lane in self.lanes.values():
            # what failed may have failed for that
            lane.is_stopped, lane.failed, lane.gave_up = False, None, None
        self.driver.tell(told.Note("the engine is back"))
        self.driver.looking.look_at_everything()
        for lane in self.lanes.values():
            self.driver.advance(lane, reconciles=True)
