"""Whose the records of an engine's cache are. Pure: records in, for each that may be a checkout's a verdict with why.

BuildKit has no owners. Known to be of a checkout are mounts of its namespaces. Its layers are those that its builds
were seen to make, what stands on a dependency layer that only its mounts are seeded from, and what all of these were
made on, as long as nothing else was made on that. Where others build the same Dockerfiles, what its builds made may be
what they use too, and nothing would tell. If unsure, it is not the checkout's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT
from kiro_invoke.cache.places import Places
from kiro_invoke.cache.records import MOUNT, Graph, mount_id
from kiro_invoke.cache.superseded import Owner
from kiro_invoke.engine.protocol import CacheRecord, LocalImage

#: What an image that is here is to the builds that stand on it.
_FROM_HERE = "from local "
_SOURCES = ("local source for ", "[internal] ", "pulled from ", "git snapshot ", "http url ")


class Whose(StrEnum):
    """Whose a thing is: this checkout's, or perhaps."""

    OURS = "ours"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Verdict:
    whose: Whose
    why: str


def whose(
    records: Sequence[CacheRecord],
    owner: Owner,
    said: Places,
    *,
    made: Set[str],
    twin: str,
    standins: Set[str] = frozenset(),
) -> dict[str, Verdict]:
    """The records that are this checkout's, and those that may be, by id. What is not in it is somebody else's.

    `made` are the layers that its builds were seen to make; `standins` those that its stand-ins were made as; `twin`
    tells who else builds the same Dockerfiles, "" for nobody.
    """
    graph = Graph(records)
    mounts = {record.id for record in records if is_own_mount(record, owner)}
    standing = _standing(graph, mounts, owner)
    sure = standing | (set() if twin else {id for id in made if graph.is_layer(id)})
    candidates = {id for id in graph.above(sure | mounts) | sure | standins if _can_be_owned(graph, id)}
    own = _alone(graph, candidates, mounts)
    verdicts = {id: Verdict(Whose.OURS, "a mount of this checkout") for id in mounts}
    verdicts |= {id: Verdict(Whose.OURS, "made by this checkout's builds") for id in own}
    for record in records:
        if record.id in verdicts:
            continue
        if record.id in made and twin:
            verdicts[record.id] = Verdict(Whose.UNSURE, f"{twin} builds the same steps, and may use it")
        elif why := _why_unsure(record, graph, owner, said, twin, candidates):
            verdicts[record.id] = Verdict(Whose.UNSURE, why)
    return verdicts


def is_own_mount(record: CacheRecord, owner: Owner) -> bool:
    """Whether a record is a mount in a namespace that only this checkout's builds, or its measured copy's, have."""
    known = mount_id(record.description) if record.kind == MOUNT else None
    return known is not None and (owner.has_namespace(known[0]) or _is_apart(known[0], owner))


def other_checkouts(
    records: Sequence[CacheRecord], images: Sequence[LocalImage], owner: Owner
) -> tuple[str, ...]:
    """The names of other checkouts that have something on the engine."""
    named = {image.labels.get(LABEL_CHECKOUT, "") for image in images}
    for record in records:
        known = mount_id(record.description) if record.kind == MOUNT else None
        named.add(known[0] if known else "")
    return tuple(
        sorted(
            name for name in named if name and not owner.has_namespace(name) and not _is_apart(name, owner)
        )
    )


def twin_of(records: Sequence[CacheRecord], images: Sequence[LocalImage], owner: Owner) -> str:
    """Who else builds the Dockerfiles of this checkout, in words; "" where nothing tells of anybody."""
    by_mounts = (found for record in records if (found := _twin(record, owner)))
    by_images = (
        name
        for image in images
        if image.labels.get(LABEL_PROJECT) == owner.project
        and (name := image.labels.get(LABEL_CHECKOUT, ""))
        and name != owner.checkout
        and not _is_apart(name, owner)
    )
    return min({*by_mounts, *by_images}, default="")


def _is_apart(namespace: str, owner: Owner) -> bool:
    return any(namespace == own or namespace.startswith(f"{own}-lost-") for own in owner.apart)


def _standing(graph: Graph, mounts: Set[str], owner: Owner) -> set[str]:
    """The layers on those that only own mounts are seeded from and that are made of the project's files.

    A measured copy stands on base images of its own: all that its mounts are seeded from is its alone.
    """
    found: set[str] = set()
    for id in mounts:
        known = mount_id(graph.by_id[id].description)
        if known is None or not (owner.mounts.get(known[1], False) or _is_apart(known[0], owner)):
            continue
        for seed in graph.by_id[id].parents:
            below = graph.below(seed) if seed in graph.by_id else set()
            if all(one in mounts for one in below if graph.by_id[one].kind == MOUNT):
                found |= {one for one in below if graph.is_layer(one)}
    return found


def _twin(record: CacheRecord, owner: Owner) -> str:
    """Who else builds with a mount of one of our ids, in words; "" for a record that does not tell of anybody."""
    known = mount_id(record.description) if record.kind == MOUNT else None
    if known is None or known[1] not in owner.mounts or is_own_mount(record, owner):
        return ""
    return known[0] or "a build without kiro"


def _can_be_owned(graph: Graph, id: str) -> bool:
    """Not what every build on the engine may take from: contexts, and images that come from elsewhere."""
    return graph.is_layer(id) and not graph.by_id[id].description.startswith(_SOURCES)


def _alone(graph: Graph, candidates: Collection[str], mounts: Set[str]) -> set[str]:
    """Of these layers, those on which nothing was made but such layers and own mounts."""
    own = {*candidates}
    todo = [*own]
    while todo:
        id = todo.pop()
        if id in own and not graph.children.get(id, set()) <= own | mounts:
            own.discard(id)
            todo += [parent for parent in graph.by_id[id].parents if parent in own]
    return own


def _why_unsure(
    record: CacheRecord, graph: Graph, owner: Owner, said: Places, twin: str, candidates: Collection[str]
) -> str:
    """Why something that may be ours is not known to be; "" where nothing speaks for it."""
    if record.kind == MOUNT:
        known = mount_id(record.description)
        ours = known is not None and not known[0] and known[1] in owner.mounts
        return (
            "a build without kiro left it: it may be anybody's"
            if ours and known and _is_named(known[1])
            else ""
        )
    if not _can_be_owned(graph, record.id) or record.description.startswith(_FROM_HERE):
        return ""
    if record.id in candidates:
        return "somebody else's layer or mount stands on it"
    # where others build the same Dockerfiles, what was not seen to be made here is theirs
    return "" if twin or not said.services_of(record) else "no build of this checkout was seen to make it"


def _is_named(id: str) -> bool:
    """Whether an id was chosen; a mount without one has its path for it."""
    return not id.startswith("/")
