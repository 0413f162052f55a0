"""Containers that are processes of this machine: the loop's own scripts run for real, without an engine."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from kiro_invoke.engine.containers import ChannelClosed, ContainerFacts, Happened


class LocalChannel:
    """A process here (see containers.Channel)."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,
        )

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
        except (OSError, ValueError):
            raise ChannelClosed from None

    def receive(self) -> bytes:
        assert self.process.stdout is not None
        return os.read(self.process.stdout.fileno(), 65536)

    def close(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()

    def kill(self) -> None:
        """As if the container ended: nothing in it goes on."""
        for pid in _descendants(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """A process and all that it started, the first one first: it starts no more then."""
    with suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(found for child in children for found in _descendants(int(child)))]
    return [pid]


class LocalContainers:
    """One container, whose working folder is a folder here (see containers.Containers)."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "OWN": "container's", **(env or {})}
        self.channels: list[LocalChannel] = []
        self.signals: list[str] = []
        self.facts = ContainerFacts(
            id="c1",
            name="web-1",
            service="web",
            image="i1",
            running=True,
            folder=str(folder),
            image_env=("FLAVOUR=the image's", f"PATH={os.environ['PATH']}"),
        )

    def of_project(self, _project: str) -> tuple[ContainerFacts, ...]:
        return (self.facts,)

    def open(self, _container: str, argv: Sequence[str], user: str) -> LocalChannel:
        channel = LocalChannel(argv, self.env)
        self.channels.append(channel)
        return channel

    def signal(self, _container: str, name: str) -> None:
        self.signals.append(name)

    def restart(self, _container: str, _seconds: int) -> None:
        self.channels[-1].kill()

    def stop(self, _container: str, _seconds: int | None) -> None:
        self.channels[-1].kill()

    def happenings(self, _project: str, _since: float) -> Iterator[Happened]:
        return iter(())

    def log(self, _container: str, _since: float) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """End what still runs."""
        for channel in self.channels:
            channel.close()
            with suppress(subprocess.TimeoutExpired):
                channel.process.wait(3)
            channel.kill()
            channel.process.wait()
            assert channel.process.stdout is not None
            channel.process.stdout.close()
