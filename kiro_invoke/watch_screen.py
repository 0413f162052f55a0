"""What a person sees of the loop: a line for each change, containers' logs, and a line of how services stand."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kiro_invoke.loop import told
from kiro_invoke.plain import clean, coloured
from kiro_invoke.screen import Paper

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
_PHASES = {"serving": "green", "broken": "red", "stopped": "red", "paused": "yellow"}
_KEYS = "r rebuild  p pause  w why  q quit"
#: Lines of a failed build that are shown, and paths of a change.
_LINES, _PATHS = 60, 2


class WatchScreen:
    """Writes on `out`; on a terminal with colours and a line of states at its end. May be called from any thread."""

    def __init__(self, out: Paper, clock: Callable[[], float] = time.time) -> None:
        self._out = out
        self._clock = clock
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._phases: dict[str, told.Status] = {}
        self._services: list[str] = []

    @contextmanager
    def showing(self) -> Iterator[None]:
        """While inside, a terminal has the line of states."""
        if not self._out.is_terminal:
            yield
            return
        from rich.live import Live

        with Live(
            get_renderable=self._states, console=self._out.console, refresh_per_second=8, transient=True
        ) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def __call__(self, one: told.Told) -> None:
        with self._lock:
            if isinstance(one, told.Status):
                self._phases[one.service] = one
                return
            for line in lines(one):
                self._line(line)

    def log(self, service: str, line: bytes) -> None:
        """A line of a container's log."""
        with self._lock:
            text = coloured(line.decode(errors="replace"))
            if not self._out.is_terminal:
                self._out.unwrapped(f"{service:<10} | {clean(text)}")
                return
            from rich.text import Text

            prefix = Text(f"{service:<10} | ", style=self._colour(service))
            self._out.console.print(prefix + Text.from_ansi(text), soft_wrap=True)

    def _line(self, line: tuple[str, str]) -> None:
        text, style = line
        stamp = time.strftime("%H:%M:%S", time.localtime(self._clock()))
        shown = f"{stamp}  {text}" if style != "output" else f"          {text}"
        if not self._out.is_terminal:
            self._out.unwrapped(clean(shown))
            return
        from rich.text import Text

        body = Text.from_ansi(coloured(shown)) if style == "output" else Text(clean(shown), style)
        self._out.console.print(body, soft_wrap=True)

    def _colour(self, service: str) -> str:
        if service not in self._services:
            self._services.append(service)
        return _COLOURS[self._services.index(service) % len(_COLOURS)]

    def _states(self) -> Text:
        from rich.text import Text

        with self._lock:
            parts = []
            for one in self._phases.values():
                revision = f" {short(one.revision)}" if one.revision else ""
                style = _PHASES.get(one.phase, "yellow")
                parts.append(
                    Text.assemble(("● ", style), (one.service, "bold"), f" {one.phase}{revision}   ")
                )
            return Text.assemble(*parts, (_KEYS, "dim"), overflow="ellipsis", no_wrap=True)


def short(revision: str) -> str:
    """A revision as people see it."""
    return revision.removeprefix("kiro-revision-")[:9]


def lines(one: told.Told) -> Iterator[tuple[str, str]]:
    """What is told, as lines with a style; `output` is that of what others printed."""
    match one:
        case told.Started(service, revision, urls, unreachable):
            where = f"  {' '.join(urls)}" if urls else ""
            why = f"; not live: {unreachable}" if unreachable else ""
            yield f"{service:<10} watched, {short(revision)}{where}{why}", ""
        case told.Served():
            yield from _served(one)
        case told.Broken():
            yield from _broken(one)
        case told.Superseded(change):
            yield f"{change.service:<10} {_what(change)}: superseded by a newer save", "dim"
        case told.Unaffected(service, paths, cause):
            yield f"{service:<10} IGNORED     {_some(paths)}: {cause}; nothing done", "dim"
        case told.Refreshed(service, seconds):
            yield f"{service:<10} image built behind it in {seconds:.2f} s", "dim"
        case told.Stopped(service, cause):
            yield f"{service:<10} {cause}", "red"
        case told.Trouble(message, fix, service):
            yield f"{message}{f' Fix: {fix}' if fix else ''}", "red"
        case told.Note(message):
            yield message, "dim"
        case told.Ready(folders, services, polling):
            how = f" ({polling})" if polling else ""
            yield f"watching {', '.join(services)} in {folders} folders{how}; Ctrl-C ends it", "bold"
        case told.Why(all_lines):
            yield "the last decisions:" if all_lines else "nothing was to be decided yet", "bold"
            for line in all_lines:
                yield line, "output"


def _served(one: told.Served) -> Iterator[tuple[str, str]]:
    seconds = one.seconds
    parts = [
        ("detect", seconds.detect),
        ("sync", seconds.sync),
        ("build", seconds.build),
        ("restart", seconds.restart),
    ]
    spent = ", ".join(f"{name} {value:.2f}" for name, value in parts if value >= 0.005)
    test = ""
    if one.tested is not None:
        test = f"; test {'passed' if one.tested.ok else 'FAILED'} in {one.tested.seconds:.2f} s"
    word = "reconciled" if one.reconciled else "serving"
    change = one.change
    yield (
        f"{change.service:<10} {_what(change)} -> {change.way}, {word} {short(one.revision)} after "
        f"{seconds.total:.2f} s ({spent}){test}",
        "red" if one.tested is not None and not one.tested.ok else "green",
    )
    if one.tested is not None and not one.tested.ok:
        yield from _output(one.tested.output)
    elif b"warning" in one.output:
        yield from _output(one.output)


def _broken(one: told.Broken) -> Iterator[tuple[str, str]]:
    change = one.change
    if one.serves_old_since is None:
        serves = "nothing is served"
    else:
        since = time.strftime("%H:%M:%S", time.localtime(one.serves_old_since))
        serves = f"it still serves the code of before {since}"
    fix = f" Fix: {one.fix}" if one.fix else ""
    yield f"{change.service:<10} {_what(change)} -> {change.way}: BROKEN, {one.what}; {serves}.{fix}", "red"
    yield from _output(one.output)


def _what(change: told.Change) -> str:
    """Kind, files and cause; a cause that begins with the file's name says both."""
    files = _some(change.paths)
    first = change.paths[0] if change.paths else ""
    named = (
        first
        and change.cause.partition(" ")[0].rstrip(":")
        and first.endswith(change.cause.partition(" ")[0].rstrip(":"))
    )
    more = len(change.paths) - 1
    if named:
        cause = f"{change.cause}{f' (and {more} more)' if more > 0 else ''}"
    else:
        cause = f"{files}: {change.cause}" if files else change.cause
    return f"{change.kind!s:<10}  {cause}"


def _some(paths: tuple[str, ...]) -> str:
    more = len(paths) - _PATHS
    return ", ".join(paths[:_PATHS]) + (f" and {more} more" if more > 0 else "")


def _output(output: bytes) -> Iterator[tuple[str, str]]:
    """What a build printed, from its first error on."""
    all_lines = output.decode(errors="replace").splitlines()
    first = next((at for at, line in enumerate(all_lines) if clean(line).startswith(("error", "warning"))), 0)
    errors = [at for at, line in enumerate(all_lines) if clean(line).startswith("error")]
    if errors:
        first = errors[0]
    some = all_lines[first : first + _LINES]
    for line in some:
        yield line, "output"
    if left := len(all_lines) - first - len(some):
        yield f"... and {left} more lines", "output"
