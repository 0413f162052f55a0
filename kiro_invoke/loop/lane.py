"""One service in the loop: all that is known of it, and how it stands by that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Thread

from kiro_invoke.changes.classify import Side
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.containers import ContainerFacts
from kiro_invoke.loop.decide import Decision, Standing, Way
from kiro_invoke.loop.ledger import Held, Ledger
from kiro_invoke.loop.live import Attached
from kiro_invoke.loop.sight import Sight
from kiro_invoke.loop.syncing import MOST, Places, Transfer, size_of, transfer
from kiro_invoke.loop.told import Change
from kiro_invoke.model.change import Classification, Kind

#: How many paths of a change are told.
_TOLD = 50


@dataclass(frozen=True)
class Work:
    """What is under way: its number, what it is for, what it makes of the service, how it is ended."""

    number: int
    change: Change
    side: Side
    brake: Brake
    began: float
    #: when the first event of the change came, and how long it took to decide
    first: float
    detect: float
    revision: str = ""
    reconciles: bool = False


@dataclass(frozen=True)
class Awaited:
    """A container that was made for a change, and is to be seen to serve."""

    work: Work
    build: float
    start: float


@dataclass
class Lane:
    """A service that is watched."""

    sight: Sight
    ledger: Ledger
    #: its container, whether it runs or not; None if there is none
    facts: ContainerFacts | None = None
    attached: Attached | None = None
    held: Held | None = None
    #: why it can have no live update
    unreachable: str = ""
    #: files that are not where its container should have them
    hidden: frozenset[str] = frozenset()
    #: for what its container was made anew last
    made: Side | None = None
    #: why its container has to be started in another way
    unfit: str = ""
    #: it was restarted while work was under way
    was_restarted: bool = False
    #: the change that its container holds, and that is not served
    unserved: Change | None = None
    #: since the last time that it served, it ended
    serves_nothing: bool = False
    #: what its image was last built from
    image_side: Side | None = None
    work: Work | None = None
    awaited: Awaited | None = None
    #: it was seen to serve since its container was started
    is_confirmed: bool = False
    #: what failed, and since when (epoch) saves are not served
    failed: Side | None = None
    failed_behind: Side | None = None
    broken_since: float | None = None
    #: what could not be done live, and why
    gave_up: tuple[Side, str] | None = None
    #: it ended, and not by us: it is started again for the next change
    is_stopped: bool = False
    asked: bool = False
    #: when the first event came that is not served yet, by the monotonic clock and by the wall's
    first: float | None = None
    first_saved: float | None = None
    #: the paths that were told to be of no matter
    told_ignored: frozenset[str] = frozenset()
    numbers: int = 0
    #: in which work is, or was last, done
    thread: Thread | None = None
    phase: str = ""
    #: the side that was looked at last
    seen: Side | None = None
    last_output: bytes = b""
    decisions: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.sight.name

    @property
    def runs(self) -> bool:
        return self.facts is not None and self.facts.running

    def rows(self) -> tuple[Classification, ...]:
        """What changed since what its container holds, or where that is not known, since its image."""
        before = self.held.side if self.held else self.image_side
        return self.sight.rows(before) if before else ()

    def differs(self, side: Side | None) -> bool:
        """Whether what lies on disk is something else than this, in a way that counts."""
        if side is None:
            return True
        return side is not self.sight.side and _strongest(self.sight.rows(side)) > Kind.IGNORED

    def standing(self, rows: Sequence[Classification], *, paused: bool, live: bool) -> Standing:
        """How it stands. `live`: whether live updates are wanted at all."""
        is_served = self.held is not None and self.held.served and not self.held.doubt
        is_idle = is_served and _strongest(rows) is Kind.IGNORED
        # only looked at where it matters: of a large tree that takes a moment
        image_kind = self._image_kind() if is_idle or not self.runs else Kind.IGNORED
        failed = self.failed is not None and not self.differs(self.failed)
        no_image = self.failed_behind is not None and not self.differs(self.failed_behind)
        gave_up = self.gave_up[1] if self.gave_up and not self.differs(self.gave_up[0]) else ""
        return Standing(
            rows=rows,
            runs=self.runs,
            is_known=self.held is not None,
            is_served=is_served,
            is_confirmed=self.is_confirmed,
            unfit=self.unfit,
            unreachable=self.why_not_live(rows, live=live),
            gave_up_live=gave_up,
            rests=paused or self.is_stopped or failed,
            asked=self.asked and not paused,
            image_is_behind=image_kind >= Kind.DEPENDENCY and not no_image,
            image_fits=self.image_side is not None and image_kind is Kind.IGNORED,
        )

    def _image_kind(self) -> Kind:
        """The strongest change since its image was built."""
        return _strongest(self.sight.rows(self.image_side)) if self.image_side else Kind.BASE

    def why_not_live(self, rows: Sequence[Classification], *, live: bool) -> str:
        """Why these changes cannot be live, "" if they can."""
        if not live:
            return "--no-live"
        if self.unreachable or self.attached is None or self.held is None:
            return self.unreachable or "its container takes no session"
        moves = self.moves(rows)
        if moves.uncovered:
            return f"no sync rule covers {moves.uncovered[0]}"
        if hidden := [path for path in moves.changed if path in self.hidden]:
            return f"its container does not have {hidden[0]} where it would be synced to"
        if size_of(self.sight.context, moves.put) > MOST:
            return f"more than {MOST // 1024 // 1024} MB would have to be sent"
        return ""

    def moves(self, rows: Sequence[Classification]) -> Transfer:
        """What has to be sent into its container."""
        assert self.attached is not None
        assert self.held is not None
        facts = self.attached.facts
        places = Places(self.attached.live.sync, facts.folder, facts.binds)
        ignored = {self.sight.unplaced(row.path) for row in rows if row.kind is Kind.IGNORED}
        doubt = self.held.doubt - ignored
        return transfer(self.held.side.contents, self.wanted(rows).contents, places, doubt)

    def wanted(self, rows: Sequence[Classification]) -> Side:
        """What its container is to be made of."""
        assert self.held is not None
        side = self.sight.side
        contents = self.sight.wanted(rows, self.held.side.contents)
        return Side(contents, side.fingerprint, side.base)

    def change(self, rows: Sequence[Classification], decision: Decision) -> Change:
        """A decision with the files that it is about."""
        paths = tuple(row.path for row in rows if row.kind > Kind.IGNORED)[:_TOLD]
        change = Change(self.name, paths, decision.kind, decision.cause, decision.way)
        return change if paths or self.unserved is None else _again(self.unserved, change)

    def begin(self, change: Change, now: float, *, reconciles: bool) -> Work:
        """Note that work on a change, as it lies on disk, begins now."""
        # what somebody saved meanwhile is no mere catching up
        reconciles = reconciles and self.first is None
        self.numbers += 1
        first = now if self.first is None else self.first
        side, revision = self.sight.side, self.sight.revision
        self.work = Work(self.numbers, change, side, Brake(), now, first, now - first, revision, reconciles)
        return self.work

    def ask(self) -> None:
        """A person wants a new image, whatever failed before."""
        self.asked, self.is_stopped = True, False
        self.failed = self.failed_behind = self.gave_up = None

    def rest_phase(self, *, paused: bool) -> str:
        """How it stands while nothing is done for it."""
        if paused:
            return "paused"
        if self.is_stopped or not self.runs:
            return "stopped"
        if self.broken_since is None:
            return "serving"
        return "broken: nothing is served" if self.serves_nothing else "broken: old code is served"

    def is_superseded(self) -> bool:
        """Whether what is under way is for something that lies on disk no more."""
        work = self.work
        if work is None or work.brake.pulled:
            return False
        if work.change.way is Way.BEHIND:
            held = self.held.side if self.held else None
            return self.differs(work.side) or self.differs(held)
        return self.differs(work.side)


def _again(unserved: Change, now: Change) -> Change:
    """What is done for a change that was sent before: it is that change which is told."""
    _, mark, why = now.cause.partition("; not live: ")
    return replace(
        unserved, way=now.way, kind=max(unserved.kind, now.kind), cause=f"{unserved.cause}{mark}{why}"
    )


def _strongest(rows: Sequence[Classification]) -> Kind:
    return max((row.kind for row in rows), default=Kind.IGNORED)
