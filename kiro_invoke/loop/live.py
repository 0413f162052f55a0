"""Bring a running container up to date: sync, build, restart, and see that it serves. Decides nothing."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from kiro_invoke.changes.classify import Side
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.containers import ContainerFacts, Containers
from kiro_invoke.loop import scripts
from kiro_invoke.loop.ledger import Held, Ledger
from kiro_invoke.loop.outcome import (
    Broken,
    Cancelled,
    Impossible,
    Outcome,
    Outdated,
    Served,
    Spent,
    Tested,
)
from kiro_invoke.loop.session import CANCELLED, Answer, NoSession, Place, Session, SessionLost, open_session
from kiro_invoke.loop.syncing import Moved, Transfer, archive, listed, one_file
from kiro_invoke.model.live import CONTAINER, NONE, SUPERVISOR, Live

#: A command that cannot be started, as a shell tells it.
_UNSTARTED = frozenset({"126", "127"})
#: Seconds that a restarted program may take until it serves.
SERVING_SECONDS = 60.0
#: The program that has cargo see by content what changed, where an image has it.
_FRESH = '"$(command -v kiro-fresh >/dev/null && echo kiro-fresh build)"'
#: What tar says where a disk is full.
_FULL = re.compile(r"no space left|wrote only \d+ of", re.IGNORECASE)
#: How many changed paths a command is told of.
_TOLD = 200
_CA = "/tmp/kiro-ca.pem"
_TRUSTING = "".join(
    f"export {name}={_CA}; "
    for name in ("SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO")
)


@dataclass
class Attached:
    """A running container, how it can be updated, and the session with it."""

    containers: Containers
    facts: ContainerFacts
    live: Live
    session: Session
    place: Place
    grace: float
    ca_bundle: bytes = b""

    def reopen(self) -> None:
        """Another session, for the one before is lost. SessionLost if there is none to be had."""
        self.session.close()
        try:
            self.session, self.place = open_session(self.containers, self.facts, self.grace)
        except NoSession:
            raise SessionLost from None

    def serving(self) -> str:
        """What waits in the container until it serves, as a shell's text."""
        supervised = self.place.is_supervised
        return scripts.serving(self.facts.health, self.facts.ports, SERVING_SECONDS, supervised=supervised)


@dataclass(frozen=True)
class Order:
    """What is to be done. `side` is what the container holds then, `revision` the hash of that; `installs`:
    dependencies changed. `was_served`: all that the container held before runs in it.
    """

    context: Path
    side: Side
    transfer: Transfer
    installs: bool = False
    revision: str = ""
    was_served: bool = True


class _Ended(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


@dataclass
class LiveUpdate:
    """One update. SessionLost where the container or the engine is gone meanwhile: what is held is in doubt then."""

    attached: Attached
    ledger: Ledger
    held: Held
    brake: Brake
    on_phase: Callable[[str], None] = lambda _phase: None
    on_output: Callable[[bytes], None] | None = None
    clock: Callable[[], float] = time.monotonic
    spent: Spent = field(default_factory=Spent)

    def run(self, order: Order) -> Outcome:
        """Do all of it; the ledger knows at each moment what is sure."""
        try:
            self._sync(order)
            output = self._build(order)
            self._restart(order)
        except _Ended as ended:
            return ended.outcome
        except Moved:
            return Outdated()
        self.held = self.ledger.serve(self.held)
        served = self.clock()
        return Served(self.spent, output, self._tested(), self.clock() - served)

    def _sync(self, order: Order) -> None:
        begun, moves = self.clock(), order.transfer
        self.on_phase("syncing")
        put = archive(order.context, moves.put, order.side.contents) if moves.put else b""
        self._check_brake()
        self.held = self.ledger.doubt(self.held, moves.changed, installs=order.installs)
        for verb, places in (("drop", moves.drop), ("clear", moves.clear)):
            if places:
                self._sent(verb, listed(places))
        if put:
            self._sent("put", put)
        if moves.prune:
            self._sent("prune", listed(moves.prune))
        self.held = self.ledger.settle(self.held, order.side, moves.changed)
        self.spent = replace(self.spent, sync=self.clock() - begun)
        self._check_brake()

    def _sent(self, verb: str, payload: bytes) -> None:
        answer = self.attached.session.ask(verb, payload)
        if not answer.ok:
            lines = [line.strip() for line in answer.output.decode(errors="replace").splitlines()]
            full = next((line for line in lines if _FULL.search(line)), "")
            why = "the container's disk is full" if full else "files could not be written there"
            raise _Ended(Impossible(f"{why} ({full or next(filter(None, lines), answer.status)})"))

    def _build(self, order: Order) -> bytes:
        begun, live = self.clock(), self.attached.live
        if order.installs and live.install:
            self.on_phase("installing")
            answer = self._ran("run", self._trusting() + live.install)
            if not answer.ok:
                raise _Ended(Impossible(f"`{live.install}` failed: {answer.reason}"))
        output = b""
        if live.run:
            self.on_phase("building")
            answer = self._ran("run", self._telling(order) + live.run)
            output = answer.output
            self.spent = replace(self.spent, build=self.clock() - begun)
            if answer.status in _UNSTARTED:
                raise _Ended(Impossible(f"`{live.run}` cannot be started: {answer.last_line}"))
            if not answer.ok:
                raise _Ended(Broken("does not build", output, self.spent))
        self.spent = replace(self.spent, build=self.clock() - begun)
        return output

    def _restart(self, order: Order) -> None:
        begun, live = self.clock(), self.attached.live
        if live.before_restart:
            self.on_phase("preparing")
            self._check_brake()
            # it is not ended for a newer save: it may be in the middle of a migration
            answer = self.attached.session.ask("act", live.before_restart.encode(errors="surrogateescape"))
            if not answer.ok:
                raise _Ended(Broken(f"`{live.before_restart}` failed", answer.output, self.spent))
            self._check_brake()
        self.on_phase("restarting")
        mode = live.restart
        if order.installs and mode not in (SUPERVISOR, CONTAINER):
            # whatever looks after its files itself keeps what it read of its dependencies
            mode = SUPERVISOR if self.attached.place.is_supervised else CONTAINER
        if mode == SUPERVISOR:
            self._restart_supervised()
        elif mode == CONTAINER:
            self.attached.containers.restart(self.attached.facts.id, max(1, round(self.attached.grace)))
            self.attached.reopen()
        elif mode != NONE:
            changed = "\n".join(order.transfer.changed[:_TOLD])
            answer = self._ran("act", f"export KIRO_CHANGED={shlex.quote(changed)}; {live.restart}")
            if not answer.ok:
                raise _Ended(Broken(f"`{live.restart}` failed", answer.output, self.spent))
        self._wait_serving()
        self.spent = replace(self.spent, restart=self.clock() - begun)

    def _restart_supervised(self) -> None:
        answer = self._ran("act", scripts.restart())
        if answer.status == scripts.REFUSED:  # the program runs as somebody else
            before = self.attached.session.ask("act", scripts.stands().encode()).output.decode().rstrip("\n")
            self.attached.containers.signal(self.attached.facts.id, "HUP")
            answer = self._ran("act", scripts.wait_restarted(before))
        if answer.status == scripts.UNKNOWN:
            raise _Ended(
                Impossible("its first process is no kiro-supervise that tells how the program stands")
            )
        if not answer.ok:
            what = "is not started again"
            if answer.status == scripts.STUCK:
                what = "did not end, so it is not started again (does a debugger hold it?)"
            raise _Ended(Broken(what, answer.output, self.spent, still_serves=False))

    def _wait_serving(self) -> None:
        answer = self._ran("act", self.attached.serving())
        if not answer.ok:
            raise _Ended(Broken(not_serving(answer), b"", self.spent, still_serves=False))

    def _tested(self) -> Tested | None:
        test = self.attached.live.test
        if not test or self.brake.pulled:
            return None
        self.on_phase("testing")
        begun = self.clock()
        try:
            answer = self.attached.session.ask("act", test.encode(), brake=self.brake)
        except SessionLost:
            return None
        if answer.status == CANCELLED:
            return None
        return Tested(answer.ok, self.clock() - begun, answer.output)

    def _ran(self, verb: str, text: str) -> Answer:
        self._check_brake()
        payload = text.encode(errors="surrogateescape")
        answer = self.attached.session.ask(verb, payload, brake=self.brake, on_output=self.on_output)
        if answer.status == CANCELLED or self.brake.pulled:
            raise _Ended(Cancelled())
        return answer

    def _check_brake(self) -> None:
        if self.brake.pulled:
            raise _Ended(Cancelled())

    def _telling(self, order: Order) -> str:
        """The variables that a build gets besides the image's."""
        # what was synced before and never built may be of a kind that the build tool does not see
        is_plain = order.was_served and order.transfer.is_plain(self.attached.live.plain)
        fresh = "" if is_plain else _FRESH
        return f"export KIRO_REVISION={shlex.quote(order.revision)}; KIRO_FRESH={fresh}; "

    def _trusting(self) -> str:
        """What installs trust besides the distribution's certificates."""
        if not self.attached.ca_bundle:
            return ""
        self._sent("put", one_file(_CA, self.attached.ca_bundle))
        return _TRUSTING


def not_serving(answer: Answer) -> str:
    """Why something does not serve, in words that follow its name; from how scripts.serving ended."""
    if answer.status == scripts.ENDED:
        return f"{answer.last_line.removeprefix('the program ').strip()} as soon as it was started"
    return f"does not serve: {answer.last_line}" if answer.output.strip() else "does not serve"
