"""When the records of an engine's cache were last used, and of which services they are. Pure."""

from __future__ import annotations

from kiro_invoke.cache.places import Places
from kiro_invoke.cache.records import LAYER, MOUNT, Graph, last_used, mount_id, mount_of
from kiro_invoke.cache.superseded import Owner
from kiro_invoke.cache.whose import is_own_mount

#: In place of a service: what measurements keep.
MEASURED = "(measured copy)"


def used_of(graph: Graph, said: Places) -> dict[str, float]:
    """When each record was last used, as far as it shows: a mount by the steps that had it, a layer by what is on it.

    What the engine says of a mount's use tells no more than that it was not used since: to it, weighing a mount is a
    use. Where no Dockerfile tells which steps have it (its id may hold a platform), that must do.
    """
    told = frozenset[str]().union(*said.mounted.values())
    by_mount: dict[str, float] = {}
    for record in graph.by_id.values():
        if record.kind == LAYER:
            for id in said.mounts_of(record):
                by_mount[id] = max(by_mount.get(id, 0.0), last_used(record))
    used: dict[str, float] = {}
    for id in graph.leaves_first:
        record = graph.by_id[id]
        known = mount_of(record)
        own = last_used(record)
        if known:
            own = max(own, by_mount.get(known[1], 0.0) if known[1] in told else record.used)
        used[id] = max((own, *(used[child] for child in graph.children.get(id, ()))))
    return used


def services_of(graph: Graph, owner: Owner, said: Places) -> dict[str, frozenset[str]]:
    """Whose service each record is: as its Dockerfiles say, where several say it by what was made on it."""
    found: dict[str, frozenset[str]] = {}
    measured = _measured(graph, owner)
    for id in graph.leaves_first:
        record = graph.by_id[id]
        if id in measured:
            found[id] = frozenset({MEASURED})
            continue
        here = said.services_of(record)
        above = frozenset[str]().union(*(found[child] for child in graph.children.get(id, ())))
        found[id] = here if len(here) == 1 else (here & above or above or here)
    return found


def _measured(graph: Graph, owner: Owner) -> set[str]:
    """The mounts of measured copies, what they are seeded from, and all that is below or above that."""
    mounts = {
        record.id
        for record in graph.by_id.values()
        if record.kind == MOUNT
        and is_own_mount(record, owner)
        and (known := mount_id(record.description))
        and not owner.has_namespace(known[0])
    }
    seeds = {seed for id in mounts for seed in graph.by_id[id].parents if seed in graph.by_id}
    return graph.above(mounts).union(*(graph.below(seed) for seed in seeds))
