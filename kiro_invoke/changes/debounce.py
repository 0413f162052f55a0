"""When files are at rest: changes that come in a burst are one batch. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Batch:
    """What changed, by absolute path, since when and until when (seconds by one clock).

    `whole`: more may have changed than the paths tell; `why` says so.
    """

    first: float
    last: float
    paths: frozenset[str] = frozenset()
    whole: bool = False
    why: str = ""

    def due(self, quiet: float, cap: float) -> float:
        """When it is to be acted on: `quiet` seconds after its last change, `cap` after its first at the latest."""
        return min(self.last + quiet, self.first + cap)


def gathered(
    batch: Batch | None, paths: Iterable[str], now: float, *, whole: bool = False, why: str = ""
) -> Batch:
    """The batch with more in it; a new one if there was none."""
    more = frozenset(paths)
    if batch is None:
        return Batch(now, now, more, whole, why)
    return replace(
        batch, last=now, paths=batch.paths | more, whole=batch.whole or whole, why=batch.why or why
    )
