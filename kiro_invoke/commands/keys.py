"""Keys that are pressed on a terminal, one by one, without Enter."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def pressed(on_key: Callable[[str], None], *, wanted: bool) -> Iterator[None]:
    """While inside, each key is handed to `on_key`, from a thread; the terminal is as before afterwards."""
    if not wanted or sys.stdin is None or not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    ended_r, ended_w = os.pipe()
    reader = threading.Thread(target=_read, args=(descriptor, ended_r, on_key), daemon=True)
    try:
        tty.setcbreak(descriptor)  # Ctrl-C still interrupts
        reader.start()
        yield
    finally:
        os.write(ended_w, b"!")
        reader.join(1.0)
        os.close(ended_r)
        os.close(ended_w)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _read(descriptor: int, ended: int, on_key: Callable[[str], None]) -> None:
    while True:
        ready, _, _ = select.select([descriptor, ended], [], [])
        if ended in ready:
            return
        data = os.read(descriptor, 32)
        if not data:
            return
        for key in data.decode(errors="ignore"):
            on_key(key)
