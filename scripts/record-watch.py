#!/usr/bin/env python3
"""Record a run of `kiro watch` on a terminal: docs/watch.cast (asciicast v2), and its last screen as docs/watch.svg.

    scripts/record-watch.py FOLDER

FOLDER is a copy of this repository whose images are built: its sources are edited, and stay so.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import struct
import sys
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 176, 40
_CONTROL = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
#: Rich's own, without the fonts that a page would fetch.
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


class Recording:
    """What a program prints on a terminal of its own, and when."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.events: list[tuple[float, str]] = []
        self.begun = time.monotonic()
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.environ.update(TERM="xterm-256color", COLUMNS=str(WIDTH), LINES=str(HEIGHT))
            os.environ.pop("CI", None)
            os.execvp(argv[0], argv)
        ioctl(self._terminal, TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.events)

    def until(self, true: Callable[[str], bool], seconds: float = 120) -> None:
        """Take down what is printed until something holds of all of it."""
        end = time.monotonic() + seconds
        while not true(self.text):
            if time.monotonic() > end:
                raise SystemExit(f"not in time:\n{self.text[-2000:]}")
            if select.select([self._terminal], [], [], 0.1)[0]:
                data = os.read(self._terminal, 65536).decode(errors="replace")
                self.events.append((round(time.monotonic() - self.begun, 3), data))

    def pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda _: time.monotonic() > end, seconds + 1)

    def end(self) -> None:
        os.kill(self._pid, signal.SIGINT)
        os.waitpid(self._pid, 0)


def replaced(file: Path, pattern: str, text: str) -> None:
    before = file.read_text()
    after = re.sub(pattern, text, before, count=1)
    assert after != before, file
    file.write_text(after)


def main(folder: Path) -> None:
    recording = Recording([sys.executable, "-m", "kiro_invoke.cli", "watch"], folder)
    recording.until(lambda text: "Ctrl-C ends it" in text, 300)
    lib, title = folder / "backend/crates/kiro-domain/src/lib.rs", folder / "frontend/src/title.tsx"
    steps = [
        (lib, r'(GREETING_TEXT: &str = ").*?"', r'\1Hello from the loop"', 1),
        (title, r'TITLE = ".*"', 'TITLE = "Notes, live"', 2),
        (lib, r'(GREETING_TEXT: &str = ".*?");', r"\1 + 1;", 3),
        (lib, r"( \+ 1);", ";", 4),
        (folder / "frontend/package.json", r'"vitest run"', '"vitest run --silent"', 5),
    ]
    told = re.compile(r"serving [0-9a-f]{9} after|BROKEN")
    for file, pattern, text, number in steps:
        recording.pause(1.5)
        replaced(file, pattern, text)
        recording.until(lambda seen, wanted=number: len(told.findall(seen)) >= wanted)  # type: ignore[misc]
    recording.pause(1.5)
    recording.end()
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "title": "kiro watch"}
    rows = [json.dumps(header), *(json.dumps([at, "o", text]) for at, text in recording.events)]
    (ROOT / "docs/watch.cast").write_text("\n".join(rows) + "\n")
    screen = Console(record=True, width=WIDTH, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115, PTH123
    for line in lines(recording.text)[-HEIGHT:]:
        screen.print(Text.from_ansi(line), soft_wrap=True, crop=True)
    screen.save_svg(str(ROOT / "docs/watch.svg"), title="kiro watch", code_format=_SVG)


def lines(text: str) -> list[str]:
    """The lines that stand on the terminal at the end; colours are kept."""
    screen, row = [""], 0
    for part in re.split(r"(\x1b\[\??[0-9;]*[A-Za-z]|\r|\n)", text):
        control = _CONTROL.fullmatch(part)
        if part == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif part == "\r" or not part:
            continue
        elif control and control[2] == "A":
            row = max(0, row - int(control[1] or 1))
        elif control and control[2] == "K":
            screen[row] = ""
        elif control and control[2] != "m":
            continue
        else:
            screen[row] += part
    return [line for line in screen if line.strip()]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
