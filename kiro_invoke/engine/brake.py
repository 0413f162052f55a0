"""Stop work that is under way in another thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Brake:
    """What is under way says how it is stopped; whoever pulls the brake has that done, once. It never lets go."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pulled = False
        self._stops: list[Callable[[], None]] = []

    @property
    def pulled(self) -> bool:
        return self._pulled

    def pull(self) -> None:
        """Stop what is under way, and whatever begins later."""
        with self._lock:
            self._pulled = True
            stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    @contextmanager
    def stopping(self, stop: Callable[[], None]) -> Iterator[None]:
        """While inside, the brake calls `stop`, from whatever thread pulls it; at once if it was pulled before."""
        with self._lock:
            at_once = self._pulled
            if not at_once:
                self._stops.append(stop)
        if at_once:
            stop()
        try:
            yield
        finally:
            with self._lock:
                if stop in self._stops:
                    self._stops.remove(stop)


@contextmanager
def passed_on(brake: Brake | None, to: Brake) -> Iterator[None]:
    """While inside, whoever pulls the one pulls the other."""
    if brake is None:
        yield
        return
    with brake.stopping(to.pull):
        yield


@contextmanager
def pulled_when(asks: Callable[[], bool], brake: Brake, pause: float) -> Iterator[None]:
    """While inside, ask every `pause` seconds, in another thread, whether to pull the brake."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(pause):
            if asks():
                brake.pull()
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(pause)
