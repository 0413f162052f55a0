"""Whose the records of an engine's cache are. Pure: records in, for each that may be a checkout's a verdict with why.

BuildKit has no owners. Known to be of a checkout are mounts of its namespaces. Its layers are those that its builds
were seen to make; where no other checkout is, also steps of its Dockerfiles that stand on a dependency layer which only
its mounts are seeded from, and such steps that all of these were made on. As long as nothing else was made on that.
Where others build the same Dockerfiles, what its builds made may be what they use too, and nothing would tell: then
both must hold. If unsure, it is not the checkout's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT
from kiro_invoke.cache.places import Places
from kiro_invoke.cache.records import MOUNT, Graph, mount_id, mount_of
from kiro_invoke.cache.superseded import Owner
from kiro_invoke.engine.protocol import CacheRecord, LocalImage

#: Who it is where a mount has one of our ids and no namespace.
WITHOUT = "a build without kiro"
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
    others: Collection[str] = (),
    is_same: bool = False,
) -> dict[str, Verdict]:
    """The records that are this checkout's, and those that may be, by id. What is not in it is somebody else's.

    `made` are the layers that its builds were seen to make; `standins` those that its stand-ins were made as; `twin`
    tells who else builds the same Dockerfiles, "" for nobody, and `is_same` whether they came to the same image.
    `others` are checkouts that have anything here. One of the same repository may be among them, and nothing tell: its
    folder has another name, so its images have, and the engine dropped its mounts. What its builds made stays.
    """
    graph = Graph(records)
    mounts = {record.id for record in records if is_own_mount(record, owner)}
    seen = {id for id in made if graph.is_layer(id)}
    standing, apart = _standing(graph, mounts, owner)
    written = set() if twin or others else {record.id for record in records if said.services_of(record)}
    if is_same:
        seen = set()  # they may never have run a step: all that they stand on, our builds made
    sure = apart | (standing & seen if twin else standing & written | seen)
    ours = seen | written | sure | standins
    candidates = {
        id
        for id in graph.above(sure | mounts) | sure | standins
        if _can_be_owned(graph, id) and (id in ours or _is_from_here(graph, id))
    }
    own = _alone(graph, candidates, mounts)
    verdicts = {id: Verdict(Whose.OURS, "a mount of this checkout") for id in mounts}
    verdicts |= {id: Verdict(Whose.OURS, "made by this checkout's builds") for id in own}
    for record in records:
        if record.id in verdicts:
            continue
        if record.id in made and graph.is_layer(record.id) and twin:
            verdicts[record.id] = Verdict(Whose.UNSURE, f"{twin} builds the same steps, and may use it")
        elif why := _why_unsure(record, graph, owner, said, twin, candidates):
            verdicts[record.id] = Verdict(Whose.UNSURE, why)
    return verdicts


def is_own_mount(record: CacheRecord, owner: Owner) -> bool:
    """Whether a record is a mount in a namespace that only this checkout's builds, or its measured copy's, have."""
    known = mount_of(record)
    return known is not None and (owner.has_namespace(known[0]) or _is_apart(known[0], owner))


def other_checkouts(
    records: Sequence[CacheRecord], images: Sequence[LocalImage], owner: Owner
) -> tuple[str, ...]:
    """The names of other checkouts that have something on the engine."""
    named = {image.labels.get(LABEL_CHECKOUT, "") for image in images}
    for record in records:
        known = mount_of(record)
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


def same_image(
    images: Sequence[LocalImage], layers: Mapping[str, tuple[tuple[str, int], ...]], owner: Owner
) -> str:
    """An image that somebody else's build came to as one of this checkout's did, by name; "" for none.

    All steps of such a build may have been taken from the cache: nothing else tells of it. `layers` are those of each
    image.
    """
    ours = {
        layers.get(image.id, ())
        for image in images
        if image.labels.get(LABEL_CHECKOUT) == owner.checkout and image.id in owner.images
    }
    found = (
        image.names[0] if image.names else image.id
        for image in images
        if image.labels.get(LABEL_CHECKOUT) != owner.checkout
        and not _is_apart(image.labels.get(LABEL_CHECKOUT, ""), owner)
        and layers.get(image.id, ()) in ours - {()}
    )
    return min(found, default="")


def _is_apart(namespace: str, owner: Owner) -> bool:
    own, lost, number = namespace.rpartition("-lost-")
    return namespace in owner.apart or (bool(lost) and own in owner.apart and number.isdecimal())


def _standing(graph: Graph, mounts: Set[str], owner: Owner) -> tuple[set[str], set[str]]:
    """The layers on those that only own mounts are seeded from and that are made of the project's files.

    Apart from them those of measured copies, which stand on base images of their own: all that their mounts are seeded
    from is theirs alone.
    """
    found: set[str] = set()
    apart: set[str] = set()
    for id in mounts:
        known = mount_id(graph.by_id[id].description)
        is_apart = known is not None and _is_apart(known[0], owner)
        if known is None or not (owner.mounts.get(known[1], False) or is_apart):
            continue
        for seed in graph.by_id[id].parents:
            below = graph.below(seed) if seed in graph.by_id else set()
            if all(one in mounts for one in below if graph.by_id[one].kind == MOUNT):
                (apart if is_apart else found).update(one for one in below if graph.is_layer(one))
    return found, apart


def is_unnamed_twin(record: CacheRecord, owner: Owner) -> bool:
    """Whether a build without kiro left it: a mount of one of our ids in no namespace."""
    return _twin(record, owner) == WITHOUT


def _twin(record: CacheRecord, owner: Owner) -> str:
    """Who else builds with a mount of one of our ids, in words; "" for a record that does not tell of anybody."""
    known = mount_of(record)
    if known is None or known[1] not in owner.mounts or is_own_mount(record, owner):
        return ""
    return known[0] or WITHOUT


def _can_be_owned(graph: Graph, id: str) -> bool:
    """Not what every build on the engine may take from: contexts, and images that come from elsewhere."""
    return graph.is_layer(id) and not graph.by_id[id].description.startswith(_SOURCES)


def _is_from_here(graph: Graph, id: str) -> bool:
    return graph.by_id[id].description.startswith(_FROM_HERE)


def _alone(graph: Graph, candidates: Collection[str], mounts: Set[str]) -> set[str]:
    """Of these layers, those on which nothing was made but such layers and own mounts."""
    own = {*candidates, *mounts}
    todo = [*candidates]
    while todo:
        id = todo.pop()
        if id in own and not graph.children.get(id, set()) <= own:
            own.discard(id)
            todo += [parent for parent in graph.by_id[id].parents if parent in own]
    return own - mounts


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
    if not _can_be_owned(graph, record.id) or _is_from_here(graph, record.id):
        return ""
    if record.id in candidates:
        return "somebody else's layer or mount stands on it"
    # where others build the same Dockerfiles, what was not seen to be made here is theirs
    return "" if twin or not said.services_of(record) else "no build of this checkout was seen to make it"


def _is_named(id: str) -> bool:
    """Whether an id was chosen; a mount without one has its path for it."""
    return not id.startswith("/")
