"""Do several things at the same time, without making Ctrl-C wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], *, most: int) -> list[Result]:
    """The results of `work` for each item, at most `most` at a time; the first item's error if any failed.

    All have ended when this returns or an error of `work` is raised. Ctrl-C is not held up: the threads
    are daemons, unlike those of an executor, which the interpreter waits for at its exit.
    """
    gate = threading.Semaphore(most)
    futures: list[Future[Result]] = [Future() for _ in items]

    def one(item: Item, future: Future[Result]) -> None:
        with gate:
            try:
                future.set_result(work(item))
            except BaseException as error:
                future.set_exception(error)

    for item, future in zip(items, futures, strict=True):
        threading.Thread(target=one, args=(item, future), daemon=True).start()
    wait(futures)
    return [future.result() for future in futures]


def beside(work: Callable[[], Result]) -> Future[Result]:
    """Begin `work` now, in a thread that nobody waits for unless they ask for its result."""
    future: Future[Result] = Future()

    def one() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=one, daemon=True).start()
    return future
