"""How long a build waits for a shared cache: to be read, and to be filled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from kiro_invoke.builds.bake import Surroundings
from kiro_invoke.builds.progress import CacheWait, Progress
from kiro_invoke.engine.brake import Brake, pulled_when

#: How often it is looked whether the shared cache answers.
_LOOK_SECONDS = 0.5
#: A layer on its way to the shared cache is not heard of: it is given so many times the patience for an answer.
_WRITING_TAKES = 30


class CacheSilent(Exception):
    """The shared cache kept a build waiting for so many `seconds`, to be read or with `writing` to be filled."""

    def __init__(self, seconds: float, *, writing: bool = False) -> None:
        super().__init__(f"the shared cache did not answer for {seconds:.0f} s")
        self.writing = writing


@dataclass
class Answers:
    """How long the shared cache has kept a build waiting: `patience` seconds at most, to be filled many times that."""

    patience: float
    #: Why it was given up; None where it was not.
    gave_up: CacheSilent | None = None
    _last: CacheWait | None = None
    _waited: float = 0.0

    def look(self, now: CacheWait | None, seconds: float) -> bool:
        """What is waited for by now, so many `seconds` after the look before: whether to give it up."""
        self._waited = self._waited + seconds if now is not None and now == self._last else 0.0
        self._last = now
        if now is None:
            return False
        limit = self.patience * (_WRITING_TAKES if now.writing else 1)
        if self._waited > limit:
            self.gave_up = CacheSilent(limit, writing=now.writing)
        return self.gave_up is not None


@contextmanager
def answering(progress: Progress, brake: Brake, around: Surroundings) -> Iterator[Answers]:
    """While inside, pull the brake where a build waits for nothing but the shared cache for too long."""
    answers = Answers(around.cache_patience)
    if not around.caching:
        yield answers
        return
    with pulled_when(lambda: answers.look(progress.cache_wait, _LOOK_SECONDS), brake, _LOOK_SECONDS):
        yield answers
