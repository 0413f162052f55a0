"""The live board: what a terminal shows while a build runs. The only module that loads rich at its import."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kiro_invoke.builds.progress import Ended, Event, Printed, Started, StepName
from kiro_invoke.plain import clean, worth_telling


class Board:
    """A live board: the stages that run now, with their seconds and last line, over a count of steps."""

    def __init__(self, out: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._begun = clock()
        self._running: dict[StepName, tuple[float, str]] = {}
        self._cached = self._ran = 0

    def __call__(self, event: Event) -> None:
        if not event.step.stage:
            return
        if isinstance(event, Started):
            self._running[event.step] = (self._clock(), clean(event.step.text))
        elif isinstance(event, Printed):
            if event.line.strip() and event.step in self._running:
                self._running[event.step] = (self._running[event.step][0], clean(event.line))
        else:
            self._ended(event)

    def showing(self) -> AbstractContextManager[object]:
        """While inside, the board is on the terminal."""
        return Live(self, console=self._out, refresh_per_second=8, transient=True)

    def _ended(self, event: Ended) -> None:
        self._running.pop(event.step, None)
        self._cached += event.cached
        self._ran += not event.cached
        if event.error or (worth_telling(event) and event.seconds >= 1.0):
            seconds = (f"{event.seconds:7.1f} s  ", "red" if event.error else "green")
            text = f"  {clean(event.step.text)[:90]}"
            self._out.print(Text.assemble(seconds, (event.step.place, "bold"), text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 1))
        for step, (since, last) in list(self._running.items())[-(options.max_height - 3) :]:
            seconds = f"{self._clock() - since:7.1f} s"
            row = Text(last[:100], "dim", no_wrap=True)
            table.add_row(Text(seconds, "yellow"), Text(step.place, "bold"), row)
        yield table
        elapsed = f"{self._clock() - self._begun:7.1f} s"
        yield Text(f"{elapsed}  {self._ran} steps run, {self._cached} cached", "cyan")
