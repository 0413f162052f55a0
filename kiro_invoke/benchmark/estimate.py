"""How long a run still takes. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from kiro_invoke.benchmark.samples import Key, Sample
from kiro_invoke.benchmark.schedule import Block

#: What takes less is not worth telling.
_SOON = 2.0


def expected(taken: Sequence[Sample], before: Mapping[Key, float]) -> dict[Key, float]:
    """What a sample of each figure takes: by this run's own median, else by an earlier run's."""
    own: dict[Key, list[float]] = {}
    for sample in taken:
        if sample.seconds is not None:
            own.setdefault(sample.key, []).append(sample.seconds)
    return {**before, **{key: statistics.median(seconds) for key, seconds in own.items()}}


def words_left(blocks: Iterable[Block], known: Mapping[Key, float]) -> str:
    """How long the samples of some blocks will take, in words; "" where nothing is left, or known."""
    keys = [slot.key for block in blocks for slot in block.slots]
    total = sum(known.get(key, 0.0) for key in keys)
    if total < _SOON:
        return ""
    return f"{'about' if known.keys() >= {*keys} else 'more than'} {as_words(total)} left"


def as_words(seconds: float) -> str:
    """`40 s`, `3 min`, `1 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
