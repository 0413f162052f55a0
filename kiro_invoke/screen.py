"""What a person sees: progress while a build runs, and the report after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from kiro_invoke.builds.progress import Ended, Event, Observer, Printed
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import UsageError
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.plain import clean, worth_telling

if TYPE_CHECKING:
    from rich.console import Console

_WIDEST = 200
#: How wide the bars of `--timings` are drawn, however wide the terminal is.
_NARROWEST, _WIDEST_BARS = 60, 160


class Paper:
    """What a command writes on. Rich, slower to load than a small build takes, is loaded for terminals only.

    `make` makes rich's console; `plain` is the stream that gets lines as they are instead.
    """

    def __init__(self, make: Callable[[], Console], plain: TextIO | None = None) -> None:
        self._make = make
        self._plain = plain

    @cached_property
    def console(self) -> Console:
        return self._make()

    @property
    def is_terminal(self) -> bool:
        return self._plain is None and self.console.is_terminal

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Write a line of texts, some with a style; a terminal wraps it between words."""
        if self._plain is not None:
            self.unwrapped("".join(part if isinstance(part, str) else part[0] for part in parts))
            return
        from rich.text import Text

        self.console.print(Text.assemble(*parts))

    def unwrapped(self, text: str) -> None:
        """Write a text as it is, for whoever copies it."""
        stream = self.console.file if self._plain is None else self._plain
        stream.write(f"{text}\n")
        stream.flush()


def paper(*, stderr: bool, environ: Mapping[str, str]) -> Paper:
    """A stream that is coloured only for a person: never piped, in CI, with NO_COLOR or TERM=dumb."""
    stream = sys.stderr if stderr else sys.stdout
    plain = not stream.isatty() or bool(environ.get("CI")) or environ.get("TERM") == "dumb"

    def make() -> Console:
        from rich.console import Console

        return Console(
            file=stream,
            force_terminal=False if plain else None,
            no_color=plain or bool(environ.get("NO_COLOR")),
            highlight=False,
            markup=False,
            soft_wrap=plain,
            width=None if stream.isatty() else _WIDEST,
        )

    return Paper(make, stream if plain else None)


def quiet(_event: Event) -> None:
    """Shows nothing."""


def lines(out: Paper, *, every_line: bool) -> Observer:
    """One line for each step that ran, as it ends; with `every_line` also all that the steps print."""

    def show(event: Event) -> None:
        if isinstance(event, Printed) and every_line:
            out.line(clean(f"{event.step.place} | {event.line}"))
        elif isinstance(event, Ended) and event.step.stage and (every_line or worth_telling(event)):
            verdict = "FAILED" if event.error else "cached" if event.cached else f"{event.seconds:6.1f} s"
            out.line(clean(f"{verdict:>8}  {event.step.place}  {event.step.text[:100]}"))

    return show


#: What BUILDKIT_PROGRESS may say; rawjson is what we read ourselves, and is shown as plain.
_PROGRESS = ("auto", "tty", "plain", "quiet", "rawjson")


def observer_for(out: Paper, environ: Mapping[str, str]) -> tuple[Observer, AbstractContextManager[object]]:
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
        from kiro_invoke.board import Board

        board = Board(out.console)
        return board, board.showing()
    return lines(out, every_line=False), nullcontext()


def show_record(out: Paper, record: BuildRecord, total: float) -> None:
    """The report after a build: base images, then each image with its stages, then the sums."""
    for base in record.base_images:
        holds = f", really {base.holds}" if base.holds else ""
        out.line(clean(f"base   {base.ref}: {base.status}{holds}"))
    for image in record.images:
        out.line("image  ", (image.image, "bold"), clean(f"  ({image.dockerfile})"))
        for stage in image.stages:
            verdict = "cached" if stage.cached else f"{stage.seconds:.1f} s"
            style = "green" if stage.cached else "yellow"
            out.line(f"       {clean(stage.name):<13}", (f"{verdict:>8}", style))
    if record.cache_mounts is not None or record.cache_bytes:  # a builder's own is not known here
        out.line(f"cache  {told_bytes(record.cache_bytes)}")
    out.line((f"total  {total:.1f} s", "bold"))


def show_timings(out: Paper, record: BuildRecord) -> None:
    """When each stage ran: as wide as the terminal, or as plain text of 80 columns."""
    from kiro_invoke.waterfall import Look, waterfall

    look = Look(is_plain=True)
    if out.is_terminal:
        is_plain = not out.console.encoding.lower().startswith("utf")
        look = Look(min(max(out.console.width, _NARROWEST), _WIDEST_BARS), is_plain)
    for line in waterfall(record, look):
        out.line(*line)
