"""What the engine holds, added up by service and kind. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

from kiro_invoke.cache.collecting import Going
from kiro_invoke.cache.holdings import Holding, Holdings
from kiro_invoke.cache.places import Kind
from kiro_invoke.commands.gc_rules import GcRules
from kiro_invoke.metrics.statistics import CacheGrowth
from kiro_invoke.model.shared import SharedCache

WEEK = 7 * 86_400.0


@dataclass(frozen=True)
class Row:
    """A service's things of one kind (service "": of several, or of none). `bytes` is all that they hold, `shared` what
    of it others hold as well: layers that are part of an image, layers of an image that others have too. `new` are the
    bytes of those that were made within a week, `used` is when the last of them was used (epoch).
    """

    service: str
    kind: Kind
    items: int
    bytes: int
    shared: int
    new: int
    used: float


@dataclass(frozen=True)
class Shown:
    """All that `show-cache` tells. `growth` is `since` then (epoch).

    `state`: what the state folder holds, and the history of builds in it.
    """

    project: str
    engine: str
    rows: tuple[Row, ...]
    held: Holdings
    rules: GcRules
    going: tuple[Going, ...]
    growth: CacheGrowth | None
    since: float
    state: tuple[int, int]
    now: float
    #: The builder that is named, whose cache is not looked at ("": none), and the shared cache.
    builder: str = ""
    shared: SharedCache | None = None

    @property
    def others_bytes(self) -> int:
        """What the build cache holds that is neither ours nor perhaps ours."""
        known = {item.id for item in self.held.items}
        records = self.held.facts.records
        return sum(record.size for record in records if record.id not in known and not record.shared)


def rows_of(held: Holdings, now: float, services: Set[str] = frozenset()) -> tuple[Row, ...]:
    """Ours, by service and kind; those of `services` alone where any are asked for."""
    groups: defaultdict[tuple[str, Kind], list[Holding]] = defaultdict(list)
    for item in held.ours:
        service = next(iter(item.services)) if len(item.services) == 1 else ""
        if not services or service in services:
            groups[service, item.kind].append(item)
    order = list(Kind)
    found = sorted(groups.items(), key=lambda group: (not group[0][0], group[0][0], order.index(group[0][1])))
    return tuple(_row(held, service, kind, items, now) for (service, kind), items in found)


def _row(held: Holdings, service: str, kind: Kind, items: Sequence[Holding], now: float) -> Row:
    fresh = [item for item in items if item.created >= now - WEEK]
    bytes, own = _held(held, items)
    return Row(
        service, kind, len(items), bytes, bytes - own, _held(held, fresh)[0], max(item.used for item in items)
    )


def _held(held: Holdings, items: Sequence[Holding]) -> tuple[int, int]:
    """What these things hold, and what of it nothing else holds."""
    return held.held_by(items), held.bytes_of(items)


def unsure_of(held: Holdings) -> tuple[tuple[str, tuple[Holding, ...]], ...]:
    """What may be ours, by the reason why that is not known, the most first."""
    groups: defaultdict[str, list[Holding]] = defaultdict(list)
    for item in held.items:
        if not item.is_ours:
            groups[item.why].append(item)
    found = sorted(groups.items(), key=lambda group: -held.held_by(group[1]))
    return tuple((why, tuple(items)) for why, items in found)
