"""What a checkout's builds left behind on an engine and newer ones replaced. Pure: records in, a plan out.

Records do not tell whose they are. Known to be of this checkout are: mounts of its namespaces that its Dockerfiles
name; layers that its own builds were seen to make (see made); and what stands on a dependency layer that only mounts
of its namespaces are seeded from. The last two most recently used of everything stay. If unsure, it stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT, LABEL_SERVICE
from kiro_invoke.cache.namespaces import is_clean, is_own
from kiro_invoke.cache.records import MOUNT, Graph, instruction, last_used, mount_id, mount_of
from kiro_invoke.engine.protocol import CacheRecord, LocalImage

#: How many of a thing stay: what is used now, and what a change taken back needs again.
KEEP = 2
#: How long mounts stay that no build uses again: while one runs that does, its steps may not have them in use.
CLEAN_SECONDS = 3600.0

_COPIED = ("COPY ", "ADD ", "WORKDIR ")


@dataclass(frozen=True)
class Owner:
    """Whose things may go. `mounts` tells of each mount id whether its seed is made from the project's files.

    `images` are the ids of those that its builds made. Labels do not tell: whatever stands on one of them has
    the same, a `docker commit` or a person's own `FROM`.
    """

    project: str
    checkout: str
    services: frozenset[str]
    mounts: Mapping[str, bool]
    images: Set[str] = frozenset()
    #: namespaces of copies whose layers stand on base images of their own, so that none is shared with them
    apart: Set[str] = frozenset()

    #: namespaces that builds of this checkout use now (None: its own one), and when that changed last (epoch seconds)
    current: Set[str] | None = None
    changed: float = 0.0

    def why_not_used(self, namespace: str) -> str:
        """Why no build will use a namespace of this checkout again, or ""."""
        if is_clean(namespace, self.checkout):
            return "a clean build used it once"
        current = {self.checkout} if self.current is None else self.current
        return "" if namespace in current else "its namespace was replaced"

    def has_namespace(self, namespace: str) -> bool:
        return is_own(namespace, self.checkout)


@dataclass(frozen=True)
class Item:
    """An image or a cache record, what it is in a few words, its size in bytes, and why it goes or stays."""

    id: str
    what: str
    size: int
    cause: str


@dataclass(frozen=True)
class Superseded:
    """What goes, leaves before what they stand on, and what is ours and stays."""

    remove: tuple[Item, ...]
    keep: tuple[Item, ...]

    def __str__(self) -> str:
        rows = [("remove", item) for item in self.remove] + [("keep", item) for item in self.keep]
        return "\n".join(f"{verb:<6} {item.what}: {item.cause}" for verb, item in rows)


def superseded_images(images: Iterable[LocalImage], owner: Owner) -> Superseded:
    """The images of this checkout that lost their name to a newer one. They go before the cache: see Engine.prune."""
    own = [image for image in images if _is_own(image, owner)]
    newest: set[str] = set()
    for service in owner.services:
        of_service = [image for image in own if image.labels[LABEL_SERVICE] == service]
        # the engine dates images to the second: one that has a name is the newest of its second
        of_service.sort(key=lambda image: (image.created, bool(image.names)), reverse=True)
        newest.update(image.id for image in of_service[:KEEP])
    remove: list[Item] = []
    keep: list[Item] = []
    for image in own:
        stays = _why_image_stays(image, newest)
        what = f"image {image.id.removeprefix('sha256:')[:12]} of {image.labels[LABEL_SERVICE]}"
        cause = stays or "newer ones took its name"
        (keep if stays else remove).append(Item(image.id, what, 0, cause))
    return Superseded(tuple(remove), tuple(keep))


def replaced_images(images: Iterable[LocalImage], owner: Owner, since: float) -> tuple[LocalImage, ...]:
    """This checkout's images of before `since` (epoch seconds) that have no name any more, and no container."""
    own = (image for image in images if _is_own(image, owner))
    return tuple(image for image in own if not (image.names or image.in_use) and image.created < since)


def _is_own(image: LocalImage, owner: Owner) -> bool:
    labels = image.labels
    return (
        image.id in owner.images
        and labels.get(LABEL_PROJECT) == owner.project
        and labels.get(LABEL_CHECKOUT) == owner.checkout
        and labels.get(LABEL_SERVICE) in owner.services
    )


def _why_image_stays(image: LocalImage, newest: Set[str]) -> str:
    if image.names:
        return f"it is {image.names[0]}"
    if image.in_use:
        return "a container stands on it"
    return f"one of the {KEEP} newest" if image.id in newest else ""


def superseded_records(
    records: Sequence[CacheRecord],
    owner: Owner,
    *,
    made: Set[str],
    now: float,
    others: Collection[str] = (),
) -> Superseded:
    """The mounts and layers of this checkout that newer ones replaced.

    `made` are the layers that its builds were seen to make; `now` is in seconds since the epoch. `others` are other
    checkouts that have something on the engine: what stands on our dependency layer may be theirs, then.
    """
    graph = Graph(records)
    mounts = tuple(_own_mounts(records, owner))
    old = _old_mounts(graph, mounts, owner, now)
    seeds, orphans, waiting = _own_seeds(graph, mounts, old, owner)
    # where others build the same steps, what we made may be what they use, and nothing would tell
    shared = any(_is_foreign(record, owner) for record in records)
    if not shared:
        waiting = set()  # it is known otherwise whose the layers are
    old = {id: why for id, why in old.items() if id not in waiting}
    standing = seeds & made if others else seeds
    layers = {id for id in (*(() if shared else made), *standing) if graph.is_layer(id)}
    causes = _causes_to_stay(graph, mounts, old, layers - orphans)
    causes |= dict.fromkeys(waiting, "what was made on its dependency layer is still held")
    candidates = layers | old.keys()
    stays = graph.above(causes.keys() | (graph.by_id.keys() - candidates))
    goes = {id: old.get(id) or _why_layer_goes(id, orphans) for id in candidates - stays}
    goes |= dict.fromkeys(_only_under(graph, goes.keys(), made, others), "nothing that stays was made on it")
    keep = [id for id in graph.by_id if id in layers | {m.record.id for m in mounts} and id not in goes]
    return Superseded(
        tuple(_item(graph.by_id[id], goes[id]) for id in sorted(goes, key=graph.depth, reverse=True)),
        tuple(_item(graph.by_id[id], causes.get(id, "what stays was made on it")) for id in keep),
    )


@dataclass(frozen=True)
class _OwnMount:
    record: CacheRecord
    namespace: str
    id: str


def _own_mounts(records: Iterable[CacheRecord], owner: Owner) -> Iterator[_OwnMount]:
    for record in records:
        known = mount_of(record)
        if known and owner.has_namespace(known[0]) and known[1] in owner.mounts:
            yield _OwnMount(record, *known)


def _old_mounts(graph: Graph, mounts: Iterable[_OwnMount], owner: Owner, now: float) -> dict[str, str]:
    """The mounts that go, and why: all but the last used of each id, and those that no build uses again.

    When a mount was used is told by what was made on the layer that it was seeded from.
    """

    def recency(mount: _OwnMount) -> tuple[bool, float, float]:
        seeds = [graph.recency(seed) for seed in mount.record.parents if seed in graph.by_id]
        return mount.record.in_use, max(seeds, default=0.0), mount.record.created

    by_id: defaultdict[tuple[str, str], list[_OwnMount]] = defaultdict(list)
    old: dict[str, str] = {}
    for mount in mounts:
        why = owner.why_not_used(mount.namespace)
        if not why:
            by_id[mount.namespace, mount.id].append(mount)
        elif not mount.record.in_use and max(last_used(mount.record), owner.changed) < now - CLEAN_SECONDS:
            old[mount.record.id] = why
    for (_namespace, id), several in by_id.items():
        several.sort(key=recency, reverse=True)
        old |= dict.fromkeys(
            (mount.record.id for mount in several[KEEP:]), f"{KEEP} mounts {id} were used since"
        )
    return old


def _own_seeds(
    graph: Graph, mounts: Iterable[_OwnMount], old: Collection[str], owner: Owner
) -> tuple[set[str], set[str], set[str]]:
    """What stands on layers that own mounts are seeded from, and those of it that all such mounts have left.

    Last the mounts that wait: of what they are seeded from something is held yet, as by an image that was removed a
    moment ago. Without them, nobody would know later whose that was. Only seeds that are made from the project's files
    count: a toolchain may be anybody's. Where a mount of somebody else hangs on one, all of it may be theirs.
    """
    own = {mount.record.id for mount in mounts}
    standing: set[str] = set()
    orphans: set[str] = set()
    waiting: set[str] = set()
    held = {record.id for record in graph.by_id.values() if record.in_use or record.shared}
    for seed in {p for m in mounts if owner.mounts[m.id] for p in m.record.parents if p in graph.by_id}:
        below = graph.below(seed)
        hanging = {id for id in below if graph.by_id[id].kind == MOUNT}
        if any(id not in own and not _in_namespace(graph.by_id[id], owner) for id in hanging):
            continue
        standing |= below
        if hanging <= {*old} and held & below:
            waiting |= hanging
        elif hanging <= {*old}:
            orphans |= below
    return standing, orphans, waiting


def _is_foreign(record: CacheRecord, owner: Owner) -> bool:
    """Whether a mount is one of ours but for its namespace: somebody else builds the same Dockerfiles."""
    known = mount_of(record)
    if known is None or known[0] in owner.apart:
        return False
    return owner.mounts.get(known[1], False) and not owner.has_namespace(known[0])


def _in_namespace(record: CacheRecord, owner: Owner) -> bool:
    known = mount_id(record.description)
    return known is not None and owner.has_namespace(known[0])


def _causes_to_stay(
    graph: Graph, mounts: Iterable[_OwnMount], old: Collection[str], layers: Collection[str]
) -> dict[str, str]:
    """Which of our records stay by themselves, and why."""
    causes = {record.id: "in use" for record in graph.by_id.values() if record.in_use}
    causes |= {record.id: "part of an image" for record in graph.by_id.values() if record.shared}
    causes |= {m.record.id: f"one of the last {KEEP} used" for m in mounts if m.record.id not in old}
    for ids in graph.same_step(layers):
        newest = sorted(ids, key=graph.recency, reverse=True)[:KEEP]
        causes |= {id: f"one of the last {KEEP} results of its step" for id in newest if id not in causes}
    return causes


def _item(record: CacheRecord, cause: str) -> Item:
    known = mount_of(record)
    what = f"mount {known[1]}" if known else " ".join(instruction(record).split())[:60]
    return Item(record.id, what, record.size, cause)


def _why_layer_goes(id: str, orphans: Collection[str]) -> str:
    if id in orphans:
        return "of a dependency layer that no mount is seeded from any more"
    return f"its step has {KEEP} newer results"


def _only_under(
    graph: Graph, going: Collection[str], made: Set[str], others: Collection[str]
) -> Iterator[str]:
    """Copies that only what goes was made on, and what our builds `made`. Any other RUN may be anybody's: it stays.

    Where others are, so may any copy.
    """
    copied = () if others else _COPIED
    gone = {*going}
    todo = [parent for id in going for parent in graph.by_id[id].parents]
    while todo:
        record = graph.by_id.get(todo.pop())
        if record is None or record.id in gone or record.in_use or record.shared:
            continue
        if (
            graph.is_layer(record.id)
            and graph.children.get(record.id, set()) <= gone
            and (record.id in made or instruction(record).startswith(copied))
        ):
            gone.add(record.id)
            todo += record.parents
            yield record.id
