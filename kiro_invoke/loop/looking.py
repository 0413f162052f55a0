"""When to look at files again, and where: after events, from time to time, and whenever events may have been lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.builds.built import CONFIGURATION, configuration
from kiro_invoke.changes.debounce import Batch, gathered
from kiro_invoke.loop import told
from kiro_invoke.loop.events import EventSource, Hint, LimitReached
from kiro_invoke.loop.lane import Lane
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.live import Watching

#: Seconds between looks at the source of events, and the fewest between looks at everything.
_CHECK = 2.0
_RESCAN = 30.0
#: The share of a processor that looking at everything may take.
_SHARE = 0.005
#: How long a lock of git's index is waited for.
_GIT_SECONDS = 10.0
#: Nobody tells when it goes.
_GIT_LOOK = 0.02
#: What the loop itself is made from; Tilt's file is not, and Compose reads `.env` as well.
WATCHED = (*(name for name in CONFIGURATION if name != "Tiltfile"), ".env")


@dataclass
class Looking:
    """Keeps what is known of the files up to date. `files` are the configuration's, with hashes, as it was read.

    `locks` are files that are there while git changes what is checked out.
    """

    lanes: Mapping[str, Lane]
    root: Path
    files: Mapping[str, str]
    settings: Watching
    source: EventSource
    tell: told.Tell
    #: another source, where the system does not allow the first; is told why
    instead: Callable[[str], EventSource] | None = None
    locks: Sequence[Path] = ()
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    batch: Batch | None = None
    #: whether the loop goes: what is found before was saved before
    begun: bool = False
    rescan_at: float = 0.0
    check_at: float = 0.0
    #: since when git is at work, and when to see whether it still is
    _git_since: float | None = None
    _git_at: float = 0.0
    #: locks that were there for too long, by what tells that they are the same
    _dead: frozenset[object] = frozenset()

    @property
    def next_time(self) -> float:
        """When something is to be done even if nothing happens."""
        times = [self.check_at, self.rescan_at]
        if self.batch is not None:
            times.append(max(self._due(self.batch), self._git_at))
        return min(times)

    def folders(self) -> frozenset[Path]:
        """All folders in which something may change that concerns a service."""
        return frozenset(folder for lane in self.lanes.values() for folder in lane.sight.folders())

    def hint(self, hint: Hint) -> None:
        """Something may have changed."""
        interesting = [path for path in hint.paths if self._concerns(path)]
        if interesting or hint.whole:
            self.batch = gathered(self.batch, interesting, self.clock(), whole=hint.whole, why=hint.why)

    def ready(self) -> Batch | None:
        """What changed, if it is at rest."""
        now, batch = self.clock(), self.batch
        if batch is None or now < max(self._due(batch), self._git_at) or self._git_is_busy(now):
            return None
        self.batch, self._git_since = None, None
        return batch

    def look(self, batch: Batch) -> None:
        """Look at what a batch hints at."""
        if batch.whole and batch.why and not self.source.polling:
            self.tell(told.Note(f"looking at everything: {batch.why}"))
        for lane in self.lanes.values():
            paths = [path for path in batch.paths if lane.sight.concerns(path)]
            if paths or batch.whole:
                self._look_at(lane, None if batch.whole else paths, batch.first)
                if lane.sight.side is lane.seen and not batch.whole:
                    self._tell_unchanged(lane, paths)
                lane.seen = lane.sight.side
        self.follow()

    def look_at_everything(self) -> None:
        """A look at all files. It is put off where it would cost more than it should."""
        begun = self.clock()
        for lane in self.lanes.values():
            self._look_at(lane, None, begun)
            lane.seen = lane.sight.side
        cost = self.clock() - begun
        self.rescan_at = self.clock() + max(_RESCAN, cost / _SHARE)
        self.follow()

    def check(self) -> None:
        """See whether events still come, and mend it if not."""
        self.check_at = self.clock() + _CHECK
        if trouble := self.source.check():
            self.hint(Hint(whole=True, why=trouble))

    def follow(self) -> None:
        """Watch the folders as they are now. What is new may have changed before it was watched: look again."""
        folders = self.folders()
        while self._follows({self.root, *folders}):
            for lane in self.lanes.values():
                self._look_at(lane, None, self.clock())
            before, folders = folders, self.folders()
            if before == folders:
                break

    def _follows(self, folders: set[Path]) -> bool:
        try:
            return self.source.follow(folders)
        except LimitReached as error:
            if self.instead is None:
                raise
            self.source.close()
            self.source = self.instead("the system watches no more folders")
            self.tell(told.Trouble(f"{error.message}: {self.source.polling}", error.fix or ""))
            return False

    def changed_configuration(self) -> list[str]:
        """The configuration's files that are no longer as they were read."""
        now = configuration(self.root, WATCHED)
        return sorted(
            name for name in now.keys() | self.files.keys() if now.get(name) != self.files.get(name)
        )

    def accept_configuration(self) -> None:
        """Only what differs from how it is now is a change from now on."""
        self.files = configuration(self.root, WATCHED)

    def _look_at(self, lane: Lane, paths: Sequence[str] | None, since: float) -> None:
        before = lane.sight.side
        try:
            lane.sight.look(paths)
        except ConfigError as error:
            self.tell(told.Trouble(str(error), service=lane.name))
            return
        if lane.sight.side is not before:
            lane.is_stopped = False
            if not self.begun:
                return  # nobody saved it just now
            lane.first = since  # the latest save is what is waited for
            if lane.first_saved is None:
                lane.first_saved = self.wall() - (self.clock() - since)

    def _tell_unchanged(self, lane: Lane, paths: Iterable[str]) -> None:
        """Of the paths that were hinted at, those that are there hold what they held."""
        names = sorted(path.removeprefix(f"{self.root}/") for path in paths)
        there = [name for name in names if lane.sight.unplaced(name) in lane.sight.snapshot.entries]
        if there:
            self.tell(told.Unaffected(lane.name, tuple(there), "content unchanged"))

    def _concerns(self, path: str) -> bool:
        name = path.removeprefix(f"{self.root}/")
        return name in WATCHED or any(lane.sight.concerns(path) for lane in self.lanes.values())

    def _due(self, batch: Batch) -> float:
        return batch.due(self.settings.quiet, self.settings.cap)

    @property
    def may_look(self) -> bool:
        """Whether what lies on disk is a state that anybody wants."""
        return not self._locks()

    def _git_is_busy(self, now: float) -> bool:
        """A checkout is one change, not many: what it has written so far is no state that anybody wants."""
        locks = self._locks()
        if not locks:
            return False
        self._git_since = now if self._git_since is None else self._git_since
        self._git_at = now + _GIT_LOOK
        if now - self._git_since < _GIT_SECONDS:
            return True
        self._dead = frozenset(locks)
        self.tell(told.Note("git's index.lock is there for long: it is waited for no longer"))
        return False

    def _locks(self) -> list[object]:
        """The locks that are there now, but for those that were there for too long."""
        found: list[object] = []
        for lock in self.locks:
            with suppress(OSError):
                status = lock.stat()
                found.append((status.st_ino, status.st_ctime_ns))
        return [lock for lock in found if lock not in self._dead]
