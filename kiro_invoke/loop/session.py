"""A session with a container that is watched: requests to the script `kiro-live` in it, and their answers.

One process in the container for as long as it is watched: to start one for each request would cost 50 ms.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from itertools import count

from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.containers import Channel, ChannelClosed, ContainerFacts, Containers

CANCELLED = "cancelled"
#: How compilers and package managers begin what went wrong.
_ERROR = re.compile(r"(\x1b\[[0-9;]*m)*(error\b|npm ERR!|npm error|ERR_)", re.IGNORECASE)
#: The first answer is nobody's request.
_READY = 0
#: How long a container may take to start the script.
_READY_SECONDS = 20.0


class SessionLost(Exception):
    """The container, or the process in it, is gone."""


class NoSession(Exception):
    """A container in which no session can be had; the text says why, in words that follow a colon."""


@dataclass(frozen=True)
class Answer:
    """How a request ended: its status (`0` is success, CANCELLED), and what it printed."""

    status: str
    output: bytes

    @property
    def ok(self) -> bool:
        return self.status == "0"

    @property
    def reason(self) -> str:
        """The first thing it printed that calls itself an error, else the last that says anything."""
        lines = [line.strip() for line in self.output.decode(errors="replace").splitlines()]
        return next((line for line in lines if _ERROR.match(line)), self.last_line)

    @property
    def last_line(self) -> str:
        """The last thing it printed that says anything."""
        lines = [line.strip() for line in self.output.decode(errors="replace").splitlines()]
        return next((line for line in reversed(lines) if line), f"it ended with status {self.status}")


@dataclass(frozen=True)
class Place:
    """What the script found in its container: whose its working folder is, and what its first process is."""

    owner: str
    user: str
    first: str

    @property
    def is_supervised(self) -> bool:
        """Whether a signal restarts the program."""
        return "kiro-supervise" in self.first


class _Waiting:
    """A request that has no answer yet."""

    def __init__(self, on_output: Callable[[bytes], None] | None) -> None:
        self.done = threading.Event()
        self.answer: Answer | None = None
        self.on_output = on_output
        self.output: list[bytes] = []

    def take(self, data: bytes) -> None:
        if data:
            self.output.append(data)
            if self.on_output:
                self.on_output(data)


class Session:
    """An open session. One request at a time, from one thread; `cancel` and `close` come from any."""

    def __init__(self, channel: Channel, nonce: str) -> None:
        self._channel = channel
        self._end = re.compile(rb"\x00%s (\d+) (\w+)\n" % re.escape(nonce.encode()))
        self._lock = threading.Lock()
        #: apart from the other: who sends much may have to wait until what is printed meanwhile is taken
        self._sending = threading.Lock()
        self._ids = count(_READY + 1)
        self._current: tuple[int, _Waiting] | None = (_READY, _Waiting(None))
        self._lost = False
        self._first = self._current[1]
        threading.Thread(target=self._read, daemon=True).start()

    @property
    def is_lost(self) -> bool:
        return self._lost

    def ready(self) -> Place:
        """Wait until the script is there; NoSession if it does not come."""
        self._first.done.wait(_READY_SECONDS)
        if self._first.answer is None:
            self.close()
            said = b"".join(self._first.output).decode(errors="replace").strip()
            raise NoSession(said.splitlines()[-1][:200] if said else "its shell ended at once")
        lines = self._first.answer.output.decode(errors="replace").splitlines()
        if missing := [line.removeprefix("lacks=") for line in lines if line.startswith("lacks=")]:
            self.close()
            raise NoSession(f"it has no {', '.join(missing)}")
        told = dict(line.partition("=")[::2] for line in lines if "=" in line)
        return Place(told.get("owner", ""), told.get("self", ""), told.get("first", ""))

    def ask(
        self,
        verb: str,
        payload: bytes = b"",
        *,
        brake: Brake | None = None,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Answer:
        """Have the script do something, and wait until it is done; SessionLost if it never will be.

        The brake ends what `run` and `act` started: the answer is CANCELLED then.
        """
        waiting = _Waiting(on_output)
        with self._lock:
            if self._lost:
                raise SessionLost
            number = next(self._ids)
            self._current = (number, waiting)
        self._send(verb, number, payload)
        # only now: a brake that was pulled before has something to end
        with (brake or Brake()).stopping(self.cancel):
            waiting.done.wait()
        if waiting.answer is None:
            raise SessionLost
        return waiting.answer

    def cancel(self) -> None:
        """End what `run` or `act` started: its answer is CANCELLED then. Nothing where that has ended."""
        with self._lock:
            current = None if self._lost else self._current
        if current is not None:
            with suppress(SessionLost):
                self._send("cancel", current[0], b"")

    def close(self) -> None:
        self._channel.close()

    def _send(self, verb: str, number: int, payload: bytes) -> None:
        try:
            with self._sending:
                self._channel.send(b"%s %d %d\n" % (verb.encode(), number, len(payload)) + payload)
        except ChannelClosed:
            raise SessionLost from None

    def _read(self) -> None:
        buffer = b""
        while data := self._receive():
            buffer += data
            while end := self._end.search(buffer):
                self._answered(int(end[1]), end[2].decode(), buffer[: end.start()])
                buffer = buffer[end.end() :]
            # what may be the beginning of an answer's mark is kept back
            whole, mark, rest = buffer.rpartition(b"\0")
            self._printed(whole if mark else buffer)
            buffer = mark + rest if mark else b""
        self._printed(buffer)
        with self._lock:
            self._lost = True
            current, self._current = self._current, None
        if current is not None:
            current[1].done.set()

    def _receive(self) -> bytes:
        try:
            return self._channel.receive()
        except ChannelClosed:
            return b""

    def _printed(self, data: bytes) -> None:
        with self._lock:
            current = self._current
        if current is not None:
            current[1].take(data)

    def _answered(self, number: int, status: str, output: bytes) -> None:
        with self._lock:
            current = self._current
            if current is None or current[0] != number:
                return  # of a request that was cancelled when it had ended already
            self._current = None
        waiting = current[1]
        waiting.take(output)
        waiting.answer = Answer(status, b"".join(waiting.output))
        waiting.done.set()


def open_session(containers: Containers, container: ContainerFacts, grace: float) -> tuple[Session, Place]:
    """A session as the owner of the container's working folder, so that what it writes is theirs as well.

    NoSession where none can be had. `grace`: seconds that what is cancelled may take to end.
    """
    session, place = _opened(containers, container, grace, "0:0")
    if place.owner in ("", place.user):
        return session, place
    session.close()
    return _opened(containers, container, grace, place.owner)


def _opened(
    containers: Containers, container: ContainerFacts, grace: float, user: str
) -> tuple[Session, Place]:
    nonce = secrets.token_hex(8)
    script = (files("kiro_invoke") / "templates" / "kiro-live").read_text(encoding="utf-8")
    argv = ["sh", "-c", script, "kiro-live", nonce, container.folder, str(grace), *container.image_env]
    try:
        session = Session(containers.open(container.id, argv, user), nonce)
    except ChannelClosed as error:
        raise NoSession(str(error) or "it takes no more processes") from None
    return session, session.ready()
