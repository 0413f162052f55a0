"""What the records of an engine's build cache tell: which mount, which step, and what was made on what. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cached_property

from kiro_invoke.engine.protocol import CacheRecord

LAYER, MOUNT = "regular", "exec.cachemount"
_MOUNT_ID = re.compile(r'with id (".*")$', re.DOTALL)
_PLACE = re.compile(r"^\[[^\]]*\d+/\d+\] (?P<text>.*)$", re.DOTALL)


def mount_id(description: str) -> tuple[str, str] | None:
    """Namespace and id of a cache mount, from what its record says of it."""
    match = _MOUNT_ID.search(description)
    try:
        namespace, _, id = str(json.loads(match[1])).partition("/") if match else ("", "", "")
    except ValueError:
        return None
    return (namespace, id) if id else None


def mount_of(record: CacheRecord) -> tuple[str, str] | None:
    """Namespace and id of a record that is a cache mount; None for any other."""
    return mount_id(record.description) if record.kind == MOUNT else None


def last_used(record: CacheRecord) -> float:
    """Seconds since the epoch; one that was never used again was used when it was made.

    Of a mount only that is known: to an engine that weighs its cache, weighing a mount is a use of it.
    """
    return record.created if record.kind == MOUNT else max(record.created, record.used)


def instruction(record: CacheRecord) -> str:
    """A layer's instruction without its place: of twins in two stages, the engine names either."""
    match = _PLACE.match(record.description)
    return match["text"] if match else record.description


class Graph:
    """Records with what was made on them."""

    def __init__(self, records: Iterable[CacheRecord]) -> None:
        self.by_id = {record.id: record for record in records}

    @cached_property
    def children(self) -> Mapping[str, set[str]]:
        found: defaultdict[str, set[str]] = defaultdict(set)
        for record in self.by_id.values():
            for parent in record.parents:
                found[parent].add(record.id)
        return dict(found)

    @cached_property
    def leaves_first(self) -> Mapping[str, int]:
        """The place of each record in an order in which all that was made on one comes before it."""
        standing = {id: len(self.children.get(id, ())) for id in self.by_id}
        order = [id for id, count in standing.items() if not count]
        for id in order:
            for parent in {*self.by_id[id].parents} & standing.keys():
                standing[parent] -= 1
                if not standing[parent]:
                    order.append(parent)
        return {id: place for place, id in enumerate(order)}

    def is_layer(self, id: str) -> bool:
        return id in self.by_id and self.by_id[id].kind == LAYER

    def below(self, id: str) -> set[str]:
        """A record and all that was made on it."""
        return self._reached((id,), lambda one: self.children.get(one, ()))

    def above(self, ids: Iterable[str]) -> set[str]:
        """Records and all that they were made on."""
        return self._reached(ids, lambda one: self.by_id[one].parents)

    def depth(self, id: str) -> int:
        """On how many records it was made."""
        return len(self.above((id,)))

    def recency(self, id: str) -> float:
        """When it or anything that was made on it was last used: the engine does not note the use of parents."""
        return max(last_used(self.by_id[one]) for one in self.below(id))

    def same_step(self, layers: Collection[str]) -> tuple[tuple[str, ...], ...]:
        """These layers in groups: results of the same instruction after the same instructions."""
        chosen = {*layers}
        numbers: dict[tuple[object, ...], int] = {}
        known: dict[str, int] = {}

        def lineage(id: str) -> int:
            if id not in known:
                record = self.by_id[id]
                before = [self._before(one, chosen, lineage) for one in record.parents]
                known[id] = numbers.setdefault((instruction(record), *before), len(numbers))
            return known[id]

        groups: defaultdict[int, list[str]] = defaultdict(list)
        for id in chosen:
            groups[lineage(id)].append(id)
        return tuple(tuple(group) for group in groups.values())

    def _before(self, parent: str, chosen: Collection[str], lineage: Callable[[str], int]) -> object:
        """What tells a parent from others: within the chosen its lineage, else its own instruction."""
        if parent in chosen:
            return lineage(parent)
        return instruction(self.by_id[parent]) if parent in self.by_id else parent

    def _reached(self, ids: Iterable[str], following: Callable[[str], Iterable[str]]) -> set[str]:
        found: set[str] = set()
        todo = [id for id in ids if id in self.by_id]
        while todo:
            id = todo.pop()
            if id not in found:
                found.add(id)
                todo += [one for one in following(id) if one in self.by_id]
        return found
