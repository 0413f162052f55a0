"""Containers as the loop sees them: facts, channels into them, what happens to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"


@dataclass(frozen=True)
class ContainerFacts:
    """A container of a Compose project. `image` is its image's id, `image_env` what that sets (`NAME=VALUE`); `env` is
    all of its own.

    `health` is the command of its health check, as the engine has it (`CMD`, program, arguments; or `CMD-SHELL`, text);
    empty without one. `ports` are the container's own, of TCP. `binds` are where folders of this machine are mounted.
    """

    id: str
    name: str
    service: str
    image: str
    running: bool
    exit_code: int = 0
    #: what its health check says: starting, healthy, unhealthy; "" without one
    condition: str = ""
    folder: str = "/"
    labels: Mapping[str, str] = field(default_factory=dict)
    image_env: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    health: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    binds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Happened:
    """Something happened to a container: `action` is start, die or destroy. `code` is how its first process ended."""

    container: str
    service: str
    action: str
    code: str = ""
    #: seconds since the epoch, 0.0 where it is not told
    when: float = 0.0


class ChannelClosed(Exception):
    """The other end is gone: the container, the process in it, or the engine."""


class Channel(Protocol):
    """A process in a container, its standard input and output. ChannelClosed where there is none any more."""

    def send(self, data: bytes) -> None: ...

    def receive(self) -> bytes:
        """Some of what it prints, standard output and error alike; waits for it. b"" at its end."""

    def close(self) -> None:
        """Let go of it, from any thread: a `receive` that waits ends."""


class Containers(Protocol):
    """What the loop asks of an engine's containers; EngineError where it is gone."""

    def of_project(self, project: str) -> tuple[ContainerFacts, ...]:
        """The containers of a Compose project, running or not."""

    def open(self, container: str, argv: Sequence[str], user: str) -> Channel:
        """Start a process in a running container; ChannelClosed if that cannot be."""

    def signal(self, container: str, name: str) -> None:
        """Send its first process a signal."""

    def restart(self, container: str, seconds: int) -> None:
        """Stop it, killed after so many seconds, and start it again."""

    def stop(self, container: str, seconds: int | None) -> None:
        """Stop it, killed after so many seconds; None: after those of its own."""

    def happenings(self, project: str, since: float) -> Iterator[Happened]:
        """What happens to a project's containers from a time (seconds since the epoch) on, until the engine is gone."""

    def log(self, container: str, since: float) -> Iterator[bytes]:
        """The lines that its first process prints, from a time (seconds since the epoch) on, until it ends."""
