"""What a person sees: progress while a build runs, and the report after it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kiro_invoke.builds.progress import Ended, Event, Observer, Printed, Started, StepName
from kiro_invoke.model.errors import UsageError
from kiro_invoke.model.record import BuildRecord

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_WIDEST = 200


def clean(line: str) -> str:
    """`line` without terminal control: what a build prints cannot move the cursor or hide text."""
    return _CONTROLS.sub("", _ESCAPES.sub("", line)).expandtabs()


def console(*, stderr: bool, environ: Mapping[str, str]) -> Console:
    """A console that colours only for a person: never piped, in CI, with NO_COLOR or TERM=dumb."""
    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() or bool(environ.get("CI")) or environ.get("TERM") == "dumb"
    width = None if stream.isatty() else _WIDEST
    return Console(
        file=stream,
        force_terminal=False if plain else None,
        no_color=plain or bool(environ.get("NO_COLOR")),
        highlight=False,
        markup=False,
        soft_wrap=plain,
        width=width,
    )


def quiet(_event: Event) -> None:
    """Shows nothing."""


def lines(out: Console, *, every_line: bool) -> Observer:
    """One line for each step that ran, as it ends; with `every_line` also all that the steps print."""

    def show(event: Event) -> None:
        if isinstance(event, Printed) and every_line:
            out.print(Text(clean(f"{event.step.place} | {event.line}")))
        elif isinstance(event, Ended) and event.step.stage and (every_line or _worth_telling(event)):
            verdict = "FAILED" if event.error else "cached" if event.cached else f"{event.seconds:6.1f} s"
            out.print(Text(clean(f"{verdict:>8}  {event.step.place}  {event.step.text[:100]}")))

    return show


def _worth_telling(event: Ended) -> bool:
    """Whether a step ran; the engine never calls a base image cached, though nothing was done for it."""
    return bool(event.error) or not (event.cached or event.step.text.startswith("FROM "))


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

    def _ended(self, event: Ended) -> None:
        self._running.pop(event.step, None)
        self._cached += event.cached
        self._ran += not event.cached
        if event.error or (_worth_telling(event) and event.seconds >= 1.0):
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


#: What BUILDKIT_PROGRESS may say; rawjson is what we read ourselves, and is shown as plain.
_PROGRESS = ("auto", "tty", "plain", "quiet", "rawjson")


def observer_for(out: Console, environ: Mapping[str, str]) -> tuple[Observer, AbstractContextManager[object]]:
    """How a build is shown: as BUILDKIT_PROGRESS says, else a board on a terminal and lines elsewhere."""
    wish = environ.get("BUILDKIT_PROGRESS") or "auto"
    if wish not in _PROGRESS:
        known = ", ".join(_PROGRESS)
        raise UsageError(
            f"BUILDKIT_PROGRESS={clean(wish)}: not a kind of progress", fix=f"use one of {known}"
        )
    if wish == "quiet":
        return quiet, nullcontext()
    if wish in {"plain", "rawjson"}:
        return lines(out, every_line=True), nullcontext()
    if out.is_terminal or wish == "tty":
        board = Board(out)
        return board, Live(board, console=out, refresh_per_second=8, transient=True)
    return lines(out, every_line=False), nullcontext()


def show_record(out: Console, record: BuildRecord, total: float) -> None:
    """The report after a build: base images, then each image with its stages, then the sums."""
    for base in record.base_images:
        holds = f", really {base.holds}" if base.holds else ""
        out.print(Text(clean(f"base   {base.ref}: {base.status}{holds}")))
    for image in record.images:
        out.print(Text.assemble(("image  ", ""), (image.image, "bold"), clean(f"  ({image.dockerfile})")))
        for stage in image.stages:
            verdict = "cached" if stage.cached else f"{stage.seconds:.1f} s"
            out.print(
                Text.assemble(
                    f"       {clean(stage.name):<12}",
                    (f"{verdict:>9}", "green" if stage.cached else "yellow"),
                )
            )
    out.print(Text(f"cache  {size(record.cache_bytes)}"))
    out.print(Text(f"total  {total:.1f} s", "bold"))


def size(count: int) -> str:
    """Bytes as people write them: 1.2 GB (decimal units, as Docker does)."""
    amount, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
