"""What comes of work: what is known afterwards, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kiro_invoke.loop import told
from kiro_invoke.loop.decide import Decision, Way
from kiro_invoke.loop.lane import Awaited, Lane, Work
from kiro_invoke.loop.outcome import Broken, Cancelled, Impossible, Outdated, Served, Spent, Tested
from kiro_invoke.loop.session import Answer
from kiro_invoke.loop.work import Confirmed, Failed, Lost, Made, Updated
from kiro_invoke.model.change import Classification
from kiro_invoke.model.errors import BuildFailed, KiroError

if TYPE_CHECKING:
    from kiro_invoke.loop.driver import Driver

_NOT_TIMED = told.Seconds()


class Results:
    """Takes them in for the loop's thread, and has it decide again."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def take(self, lane: Lane, result: object) -> None:
        """Work on a service has come to its end."""
        work, lane.work = lane.work, None
        assert work is not None
        match result:
            case Updated(outcome, held):
                if lane.held is not None and lane.held.container == held.container:
                    lane.held = held
                self._updated(lane, work, outcome)
            case Made():
                self._made(lane, work, result)
            case Confirmed(trouble):
                self._confirmed(lane, work, trouble)
            case Failed(error):
                if work.change.way is not Way.BEHIND:
                    # what it did before it failed is noted in the ledger, or the container itself tells
                    self._driver.outside.attach(lane)
                self._failed(lane, work, error)
            case Cancelled():
                self._superseded(work)
            case Lost():
                self._driver.outside.regain(lane)
        if lane.was_restarted:
            self._driver.outside.attach(lane)
        self._driver.advance(lane, reconciles=work.reconciles)

    def is_in_vain(self, lane: Lane, rows: Sequence[Classification], decision: Decision) -> bool:
        """Whether a container was made anew for just this already, and did not mend it: then it is told once."""
        if lane.asked or lane.made is None or not lane.runs or lane.differs(lane.made):
            return False
        change = lane.change(rows, decision)
        work = lane.begin(change, self._driver.clock(), reconciles=False)
        lane.work = None
        what = "is not brought up to date, not even by a new container"
        self._broken(lane, work, what, b"", still_serves=True, fix="press r when the reason is gone")
        self._driver.advance(lane)
        return True

    def _updated(self, lane: Lane, work: Work, outcome: object) -> None:
        if not isinstance(outcome, Served):
            lane.unserved = work.change
        match outcome:
            case Served(spent, output, tested, testing):
                lane.is_confirmed = True
                self._serves(lane, work, self._seconds(work, spent, testing), output, tested)
            case Broken(what, output, spent, still_serves):
                seconds = self._seconds(work, spent)
                self._broken(lane, work, what, output, still_serves=still_serves, seconds=seconds)
            case Impossible(why):
                lane.gave_up = (work.side, why)
            case Outdated():
                self._driver.looking.look_at_everything()
            case _:
                self._superseded(work)

    def _seconds(self, work: Work, spent: Spent, testing: float = 0.0) -> told.Seconds:
        """Where the time of a live update went until now."""
        return told.Seconds(
            round(work.detect, 3),
            round(spent.sync, 3),
            round(spent.build, 3),
            round(spent.restart, 3),
            round(self._driver.clock() - work.first - testing, 3),
        )

    def _serves(
        self,
        lane: Lane,
        work: Work,
        seconds: told.Seconds,
        output: bytes = b"",
        tested: Tested | None = None,
    ) -> None:
        lane.failed = lane.broken_since = lane.first = lane.first_saved = lane.gave_up = lane.made = None
        lane.awaited, lane.serves_nothing, lane.unserved = None, False, None
        shown = output if output != lane.last_output else b""
        lane.last_output = output
        self._driver.tell(
            told.Served(
                work.change,
                seconds,
                work.revision,
                reconciled=work.reconciles,
                output=shown,
                tested=tested,
            )
        )

    def _broken(
        self,
        lane: Lane,
        work: Work,
        what: str,
        output: bytes,
        *,
        still_serves: bool,
        fix: str = "",
        seconds: told.Seconds = _NOT_TIMED,
    ) -> None:
        lane.failed = work.side
        if lane.broken_since is None:
            lane.broken_since = lane.first_saved or self._driver.wall()
        lane.first = lane.first_saved = None
        lane.serves_nothing = lane.serves_nothing or not still_serves
        since = None if lane.serves_nothing else lane.broken_since
        self._driver.tell(told.Broken(work.change, what, output, since, fix, seconds))

    def _made(self, lane: Lane, work: Work, made: Made) -> None:
        driver = self._driver
        if work.change.way is Way.BEHIND:
            driver.attaching.note_image(lane)
            driver.tell(told.Refreshed(lane.name, round(made.build, 3)))
            return
        driver.outside.attach(lane)
        lane.made = work.side if work.change.way is Way.IMAGE else None
        driver.attaching.take_over(lane)
        lane.awaited = Awaited(work, made.build, made.start)
        if not lane.runs and not driver.outside.engine_lost:
            code = f" (exit code {lane.facts.exit_code})" if lane.facts else ""
            lane.awaited = None
            what = f"its container ended as soon as it was started{code}"
            self._broken(lane, work, what, b"", still_serves=False)
        if lane.unfit:
            lane.awaited = None
            self._broken(lane, work, f"was started, but {lane.unfit}", b"", still_serves=True)
        elif lane.runs and lane.held is None:
            error = KiroError(
                "its container does not run the image that was just built: another build took its name",
                fix="press r, and do not build beside another checkout of the same project",
            )
            self._failed(lane, work, error)

    def _confirmed(self, lane: Lane, work: Work, trouble: str) -> None:
        awaited, lane.awaited = lane.awaited, None
        if trouble:
            self._broken(lane, awaited.work if awaited else work, trouble, b"", still_serves=False)
            return
        lane.is_confirmed = True
        if awaited is not None:
            seconds = told.Seconds(
                detect=round(awaited.work.detect, 3),
                build=round(awaited.build, 3),
                restart=round(awaited.start + self._driver.clock() - work.began, 3),
                total=round(self._driver.clock() - awaited.work.first, 3),
            )
            self._serves(lane, awaited.work, seconds)
        else:
            lane.failed = lane.broken_since = None
            lane.serves_nothing = False

    def _failed(self, lane: Lane, work: Work, error: KiroError) -> None:
        if work.change.way is Way.BEHIND:
            lane.failed_behind = work.side
            lines = error.tail if isinstance(error, BuildFailed) else ()
            reason = Answer("1", "\n".join(lines).encode(errors="replace")).reason if lines else error.message
            message = f"{lane.name}: what is served is not in its image, which does not build: {reason}"
            self._driver.tell(told.Trouble(message, error.fix or "", lane.name))
            return
        lane.awaited = None
        output = (
            "\n".join(error.tail).encode(errors="surrogateescape") if isinstance(error, BuildFailed) else b""
        )
        place = f"{error.place}: " if error.place else ""
        self._broken(
            lane, work, f"{place}{error.message}", output, still_serves=lane.runs, fix=error.fix or ""
        )

    def _superseded(self, work: Work) -> None:
        if work.change.way not in (Way.BEHIND, Way.CONFIRM):
            self._driver.tell(told.Superseded(work.change))
