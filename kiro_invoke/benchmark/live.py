"""A running container of a copy, kept equal to it by `kiro watch` itself."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from kiro_invoke.benchmark.copies import Copy
from kiro_invoke.benchmark.live_files import composes, composition, configuration
from kiro_invoke.benchmark.runner import CannotMeasure
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed

#: Seconds that a service may take until it serves what was saved.
_PATIENCE = 600.0
_FILES = ("kiro.yaml", "compose.yaml")
_PRIVATE = 0o600
_PACKAGE = Path(__file__).resolve().parents[2]


@dataclass
class Watched:
    """place.Live through the program itself. `composed` is each service as the person's compose file has it."""

    engine: Engine
    composed: Callable[[str], Mapping[str, Any]]
    #: starts a program, and has it end with the block: the lines of its standard output
    lines: Callable[[Sequence[str]], AbstractContextManager[Iterable[str]]]
    _stack: ExitStack = field(default_factory=ExitStack)
    _rows: SimpleQueue[dict[str, Any] | None] = field(default_factory=SimpleQueue)

    def start(self, copy: Copy, service: str) -> None:
        root, own = copy.project.root, copy.service(service)
        if any(one.context == root for one in copy.project.services):
            raise CannotMeasure(
                "the build context is the whole repository: its configuration would be built in"
            )
        texts = (configuration(copy, own), composition(copy, own, self.composed(service)))
        for name, text in zip(_FILES, texts, strict=True):
            write_whole(root / name, text, mode=_PRIVATE)  # its environment may hold secrets
            self._stack.callback(_remove, root / name)
        env = composes(copy)
        down = self._stack.callback(self._take_down, root / _FILES[1], env)
        down(root / _FILES[1], env)  # what a measurement that was killed left running
        self._rows = SimpleQueue()
        given = [f"{name}={value}" for name, value in env.items()]
        argv = [
            "env",
            f"--chdir={root}",
            f"PYTHONPATH={_PACKAGE}",
            *given,
            sys.executable,
            "-m",
            "kiro_invoke.cli",
        ]
        argv += ["watch", "--format", "jsonl", "--service", service]
        output = self._stack.enter_context(self.lines(argv))
        threading.Thread(target=_read, args=(output, self._rows), daemon=True).start()
        self._wait("ready", CannotMeasure)

    def served(self) -> None:
        self._wait("served", BuildFailed)

    def close(self) -> None:
        self._stack.close()

    def _wait(self, event: str, failing: type[Exception]) -> None:
        """Until an event is told; `failing` for whatever else it ends in."""
        for row in self._told():
            match row.get("event"):
                case told if told == event and not row.get("broken"):
                    return
                case "broken":
                    raise failing(f"watch: {row.get('message', 'does not build')}")
                case "error":
                    raise failing(f"watch: {row.get('message', 'failed')}")
        raise failing("watch: it ended, or nothing was served in time")

    def _told(self) -> Iterator[dict[str, Any]]:
        with suppress(Empty):
            while (row := self._rows.get(timeout=_PATIENCE)) is not None:
                yield row

    def _take_down(self, file: Path, env: Mapping[str, str]) -> None:
        self.engine.compose_output((file,), "down", "--volumes", "--timeout", "1", env=env)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _read(output: Iterable[str], rows: SimpleQueue[dict[str, Any] | None]) -> None:
    with suppress(ValueError, OSError):  # closed with the program
        for line in output:
            with suppress(ValueError):
                rows.put(json.loads(line))
    rows.put(None)
