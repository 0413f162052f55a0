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
from kiro_invoke.watch_lines import OUTPUT, lines, short

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_COLOURS = ("cyan", "magenta", "blue", "green", "yellow", "bright_cyan", "bright_magenta", "bright_blue")
_PHASES = {"serving": "green", "broken": "red", "stopped": "red", "paused": "yellow"}
_KEYS = "r rebuild  p pause  w why  q quit"


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
            get_renderable=self._states, console=self._out.console, auto_refresh=False, transient=True
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
                if self._live is not None:
                    self._live.refresh()
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
        shown = f"{stamp}  {text}" if style != OUTPUT else f"          {text}"
        if not self._out.is_terminal:
            self._out.unwrapped(clean(shown))
            return
        from rich.text import Text

        body = Text.from_ansi(coloured(shown)) if style == OUTPUT else Text(clean(shown), style)
        self._out.console.print(body, soft_wrap=True)

    def _colour(self, service: str) -> str:
        if service not in self._services:
            self._services.append(service)
        return _COLOURS[self._services.index(service) % len(_COLOURS)]

    def _states(self) -> Text:
        from rich.text import Text

        # without the lock: whoever draws may hold the terminal's, and whoever holds ours may want that
        parts = []
        for one in tuple(self._phases.values()):
            revision = f" {short(one.revision)}" if one.revision else ""
            style = _PHASES.get(one.phase.partition(":")[0], "yellow")
            parts.append(Text.assemble(("● ", style), (one.service, "bold"), f" {one.phase}{revision}   "))
        return Text.assemble(*parts, (_KEYS, "dim"), overflow="ellipsis", no_wrap=True)
