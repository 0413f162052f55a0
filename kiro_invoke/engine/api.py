"""Questions to the engine's HTTP API over its unix socket, in the standard library alone.

The Docker SDK takes longer to load than a build takes in which nothing changed. It is for all that
is not a question and an answer in JSON (see client): pulling, running, and engines far away.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Protocol, TypeVar
from urllib.parse import quote, urlencode

#: How long an engine may take to say its version.
ANSWER_SECONDS = 20
#: How long one that did answer may take for a call: removing an image, adding up the disk.
WORK_SECONDS = 600
#: The API of the oldest engine that is good enough: newer ones speak it too, and mean the same by it.
API_VERSION = (1, 45)

Query = Mapping[str, str]
Result = TypeVar("Result")

#: What the system said, within the layers that HTTP clients wrap around it.
_SYSTEM_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")]+)")
_UNIX = "unix://"


class Unanswered(Exception):
    """No engine can be spoken to at an address, or it broke off; the text says why."""


class Refused(Exception):
    """The engine answered with an error: its HTTP status, and its own words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Api(Protocol):
    """Asks the engine questions, each Refused or Unanswered if there is trouble. `version` of the API is spoken."""

    @property
    def version(self) -> str: ...

    def ask(
        self, method: str, path: str, query: Query | None = None, body: Mapping[str, object] | None = None
    ) -> object:
        """The JSON answer (None for an empty one) to a question, which may have a body of JSON too."""

    def fetch(self, path: str, query: Query, read: Callable[[BinaryIO], Result]) -> Result:
        """What `read` makes of an answer that is no JSON: it reads as much of it as it needs."""


@dataclass(frozen=True)
class UnixApi:
    """The API behind a socket, one connection a question: it may be asked from several threads at once."""

    path: str
    seconds: float
    version: str = ""

    def speaking(self, server: Mapping[str, Any]) -> UnixApi:
        """The same for real work with an engine that said this of itself."""
        return replace(self, seconds=WORK_SECONDS, version=spoken(server))

    def ask(
        self, method: str, path: str, query: Query | None = None, body: Mapping[str, object] | None = None
    ) -> object:
        sent = b"" if body is None else json.dumps(body).encode()
        with self._asked(method, path, query, sent) as stream:
            answer = _body(stream)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError:
            raise Unanswered("it broke off") from None

    def fetch(self, path: str, query: Query, read: Callable[[BinaryIO], Result]) -> Result:
        with self._asked("GET", path, query, b"") as stream:
            _head(stream)
            return read(stream)

    @contextmanager
    def _asked(self, method: str, path: str, query: Query | None, sent: bytes) -> Iterator[BinaryIO]:
        """The stream that the answer comes on. To leave it tells the engine to send no more."""
        prefix = f"/v{self.version}" if self.version else ""
        target = quote(f"{prefix}{path}", safe="/:") + (f"?{urlencode(query)}" if query else "")
        # to HTTP/1.0 an engine answers without chunks, and closes the connection
        head = (
            f"{method} {target} HTTP/1.0\r\nHost: docker\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.seconds)
                connection.connect(self.path)
                connection.sendall(head.encode() + sent)
                with connection.makefile("rb") as stream:
                    yield stream
        except OSError as error:
            raise Unanswered(error.strerror or str(error)) from None


def unix_path(url: str) -> str | None:
    """The socket's path of an engine's address; None for an address of another kind."""
    return url.removeprefix(_UNIX) if url.startswith(_UNIX) else None


def spoken(server: Mapping[str, Any]) -> str:
    """The version of the API to speak with an engine: ours, unless it is too new or too old for that."""
    newest, oldest = _numbers(server.get("ApiVersion")), _numbers(server.get("MinAPIVersion"))
    return ".".join(map(str, max(min(API_VERSION, newest), oldest)))


def row(answer: object) -> dict[str, Any]:
    """An answer that is one JSON object; Unanswered where it is something else."""
    if not isinstance(answer, dict):
        raise Unanswered("what answers is no Docker engine")
    return answer


def rows(answer: object) -> list[dict[str, Any]]:
    """An answer that is a list of JSON objects, which an engine may also write as null."""
    if not isinstance(answer, list | None):
        raise Unanswered("what answers is no Docker engine")
    return [row(one) for one in answer or ()]


def short(error: Exception | str) -> str:
    """An error's own words, on one line."""
    text = str(getattr(error, "explanation", None) or error)
    if reason := _SYSTEM_REASON.search(text):
        return reason[1]
    return " ".join(text.split())[:300]


def _numbers(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version or "0.0"))[:2])


def _head(stream: BinaryIO) -> bytes:
    """The head of an HTTP answer, its body still to be read; Refused where that is the engine's words."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            raise Unanswered("it broke off" if head else "it closed the connection without an answer")
        head += line
    status = re.match(rb"HTTP/\d\.\d (\d{3})", head)
    if status is None:
        raise Unanswered("it broke off")
    if status[1] >= b"400":
        raise Refused(int(status[1]), refusal(_whole(stream, head)) or f"HTTP status {int(status[1])}")
    return head


def _body(stream: BinaryIO) -> bytes:
    """What an HTTP answer holds, read to its end."""
    return _whole(stream, _head(stream))


def _whole(stream: BinaryIO, head: bytes) -> bytes:
    body = stream.read()
    length = re.search(rb"^content-length:[ \t]*(\d+)", head, re.IGNORECASE | re.MULTILINE)
    if length and len(body) < int(length[1]):
        raise Unanswered("it broke off")
    return body


def refusal(body: bytes) -> str:
    """The engine's own words for an error."""
    try:
        value = json.loads(body)
    except ValueError:
        value = body.decode(errors="replace")
    return short(str(value.get("message") if isinstance(value, dict) else value or ""))
