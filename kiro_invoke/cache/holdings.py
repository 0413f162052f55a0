"""What an engine holds of a checkout: mounts, layers, images, stand-ins, each with whose it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

from kiro_invoke.builds.bake import (
    LABEL_CHECKOUT,
    LABEL_MEASURED,
    LABEL_PROJECT,
    LABEL_SERVICE,
    MEASURED_IMAGES,
)
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.cache.places import Kind, Places, mount_kind, mount_path, written_texts
from kiro_invoke.cache.records import Graph, instruction, mount_of
from kiro_invoke.cache.superseded import Owner
from kiro_invoke.cache.uses import MEASURED, services_of, used_of
from kiro_invoke.cache.whose import (
    Verdict,
    Whose,
    other_checkouts,
    same_image,
    twin_of,
    whose,
)
from kiro_invoke.engine.protocol import CacheRecord, LocalImage
from kiro_invoke.engine.standins import ROOT_IMAGE, dockerfile, recipe_for, standin_name, stands_in


@dataclass(frozen=True)
class Facts:
    """What was read: of the engine, and what the checkout remembers.

    `layers` are those of each image, from the bottom up, with their bytes. `made`: the layers that its builds were seen
    to make. `tags` are names that it gives to images, `proven` those of which it knows the image (see Owner.images),
    `bases` the images that its Dockerfiles stand on.
    """

    records: tuple[CacheRecord, ...]
    images: tuple[LocalImage, ...]
    layers: Mapping[str, tuple[tuple[str, int], ...]]
    owner: Owner
    said: Places
    made: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    bases: tuple[str, ...] = ()
    proven: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Holding:
    """A thing on the engine. `size` is in bytes, of an image with all its layers; `shared`: an image holds it too.

    `services` is empty where it cannot be told. `used` and `created` are seconds since the epoch. `held` tells why it
    cannot go now, "" where it can. `names` are those of an image.
    """

    id: str
    kind: Kind
    what: str
    size: int
    whose: Whose
    why: str
    services: frozenset[str] = frozenset()
    created: float = 0.0
    used: float = 0.0
    shared: bool = False
    held: str = ""
    names: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        return self.whose is Whose.OURS

    @property
    def is_image(self) -> bool:
        return self.id.startswith("sha256:")


@dataclass(frozen=True)
class Holdings:
    """All of a checkout's, and what may be. `twin` tells who else builds its Dockerfiles, "" for nobody."""

    facts: Facts
    items: tuple[Holding, ...] = ()
    twin: str = ""
    others: tuple[str, ...] = field(default=())

    @cached_property
    def graph(self) -> Graph:
        return Graph(self.facts.records)

    @cached_property
    def by_id(self) -> Mapping[str, Holding]:
        return {item.id: item for item in self.items}

    @property
    def ours(self) -> tuple[Holding, ...]:
        return tuple(item for item in self.items if item.is_ours)

    @property
    def cache_bytes(self) -> int:
        """What the engine's whole build cache holds, less what images hold too."""
        return sum(record.size for record in self.facts.records if not record.shared)

    def image_bytes(self, ids: Set[str]) -> int:
        """What these images hold that no other image does, each layer once."""
        others = {
            id for image in self.facts.images if image.id not in ids for id, _ in self._layers(image.id)
        }
        own = {id: size for image in ids for id, size in self._layers(image)}
        return sum(size for id, size in own.items() if id not in others)

    def all_image_bytes(self, among: Set[str]) -> int:
        """What the images that are here hold, those `among` these, each layer once."""
        here = (image.id for image in self.facts.images if image.id in among)
        return sum({id: size for image in here for id, size in self._layers(image)}.values())

    def _layers(self, image: str) -> tuple[tuple[str, int], ...]:
        return self.facts.layers.get(image, ())

    def layer_count(self, image: str) -> int:
        return len(self._layers(image))

    def stand_on(self, base: str, image: str) -> bool:
        """Whether an image was made on the layers of another."""
        own, below = (tuple(id for id, _ in self._layers(one)) for one in (image, base))
        return bool(below) and own[: len(below)] == below

    def held_by(self, items: Iterable[Holding]) -> int:
        """What these things hold, whoever else holds it too."""
        items = tuple(items)
        rest = sum(item.size for item in items if not item.is_image)
        return self.all_image_bytes({item.id for item in items if item.is_image}) + rest

    def bytes_of(self, items: Iterable[Holding]) -> int:
        """What all of these hold: what images hold, and what the cache holds besides."""
        items = tuple(items)
        images = {item.id for item in items if item.is_image}
        return self.image_bytes(images) + sum(
            item.size for item in items if item.id not in images and not item.shared
        )


def holdings(facts: Facts) -> Holdings:
    """What is this checkout's of all that was read, and what may be."""
    twin = twin_of(facts.records, facts.images, facts.owner)
    others = other_checkouts(facts.records, facts.images, facts.owner)
    bases = {name for ref in facts.bases for name in _standin_names(ref)}
    same = same_image(
        [image for image in facts.images if bases.isdisjoint(image.names)], facts.layers, facts.owner
    )
    twin = twin or same
    texts = _standin_texts(facts.bases)
    standins = {record.id for record in facts.records if Places.told(record) in texts}
    verdicts = whose(
        facts.records,
        facts.owner,
        facts.said,
        made=facts.made,
        twin=twin,
        standins=set() if others else standins,
        others=others,
        is_same=bool(same),
    )
    graph = Graph(facts.records)
    used = used_of(graph, facts.said)
    services = services_of(graph, facts.owner, facts.said)
    records = (
        _record(graph.by_id[id], verdict, used[id], services[id], is_standin=id in standins)
        for id, verdict in verdicts.items()
    )
    items = (*records, *_images(facts), *_standins(facts, others))
    return Holdings(facts, items, twin, others)


def _record(
    record: CacheRecord, verdict: Verdict, used: float, services: frozenset[str], *, is_standin: bool
) -> Holding:
    known = mount_of(record)
    kind = mount_kind(known[1], mount_path(record)) if known else Kind.STANDIN if is_standin else Kind.LAYER
    return Holding(
        record.id,
        kind,
        f"mount {known[1]}"
        if known
        else " ".join(instruction(record).removeprefix("mount / from exec ").split()),
        record.size,
        verdict.whose,
        verdict.why,
        services,
        record.created,
        used,
        record.shared,
        "a build uses it now" if record.in_use else "",
    )


# --- images


def _images(facts: Facts) -> Iterator[Holding]:
    owner = facts.owner
    for image in facts.images:
        labels = image.labels
        measured = labels.get(LABEL_MEASURED, "") in owner.apart
        ours = labels.get(LABEL_PROJECT) == owner.project and labels.get(LABEL_CHECKOUT) == owner.checkout
        if not measured and not ours:
            continue
        names = tuple(
            name for name in image.names if _is_one_of(name, facts.tags) or (measured and _is_measured(name))
        )
        # a name whose image is known, another image got from a person: a `docker commit` under that name, for one
        is_named = bool(names) and len(names) == len(image.names) and facts.proven.isdisjoint(names)
        sure = image.id in owner.images or is_named
        service = MEASURED if measured else labels.get(LABEL_SERVICE, "")
        yield _image(
            image,
            Kind.IMAGE,
            Whose.OURS if sure else Whose.UNSURE,
            "built by this checkout"
            if sure
            else "it stands on an image of this checkout, or is a copy of one",
            frozenset({service} if service else ()),
            _given_name(image, names),
        )


def _is_one_of(name: str, names: Set[str]) -> bool:
    """Whether a name is one of these, or the digest of an image that has one: some engines give each image one."""
    repository, at, _ = name.partition("@")
    return name in names or (bool(at) and any(one.rpartition(":")[0] == repository for one in names))


def _is_measured(name: str) -> bool:
    return name.startswith(f"{MEASURED_IMAGES}/")


def _standins(facts: Facts, others: Sequence[str]) -> Iterator[Holding]:
    """The stand-ins that this project's Dockerfiles stand on, and the root that they are made of."""
    wanted = {standin_name(ref): ref for ref in facts.bases if recipe_for(ref)}
    found = [image for image in facts.images if _stands_in(image, wanted)]
    foreign = [image for image in facts.images if _is_foreign(image, facts, found)]
    for image in found:
        names = tuple(name for name in image.names if _is_standins_name(name, wanted))
        user = next((one for one in foreign if _stands_on(one, image, facts)), None)
        if others:
            why, sure = f"{others[0]} may build with it", False
        elif user is not None:
            why, sure = f"the image {user.names[0] if user.names else user.id} stands on it", False
        else:
            why, sure = "stands in for an official image", True
        verdict = Whose.OURS if sure else Whose.UNSURE
        # it is used by what is made on it
        used = max(one.created for one in facts.images if one is image or _stands_on(one, image, facts))
        found_in = _image(image, Kind.STANDIN, verdict, why, frozenset(), _given_name(image, names))
        yield replace(found_in, used=used)


def _stands_in(image: LocalImage, wanted: Mapping[str, str]) -> bool:
    if ROOT_IMAGE in image.names:
        return True
    return any(name in wanted and stands_in(image.labels, wanted[name]) for name in image.names)


def _is_standins_name(name: str, wanted: Mapping[str, str]) -> bool:
    return _is_one_of(name, {ROOT_IMAGE, *wanted, *wanted.values()})


def _is_foreign(image: LocalImage, facts: Facts, standins: Sequence[LocalImage]) -> bool:
    labels = image.labels
    if labels.get(LABEL_MEASURED, "") in facts.owner.apart or image in standins:
        return False
    return labels.get(LABEL_CHECKOUT) != facts.owner.checkout


def _stands_on(image: LocalImage, base: LocalImage, facts: Facts) -> bool:
    own, below = (tuple(id for id, _ in facts.layers.get(one.id, ())) for one in (image, base))
    return bool(below) and own[: len(below)] == below


def _image(
    image: LocalImage, kind: Kind, verdict: Whose, why: str, services: frozenset[str], given: str
) -> Holding:
    held = f"container {', '.join(image.containers) or 'of it'} stands on it" if image.in_use else given
    name = ", ".join(image.names) or f"{image.id.removeprefix('sha256:')[:12]} (without a name)"
    created = image.created
    return Holding(
        image.id,
        kind,
        name,
        image.size,
        verdict,
        why,
        services,
        created,
        created,
        held=held,
        names=image.names,
    )


def _given_name(image: LocalImage, own: Sequence[str]) -> str:
    """That somebody gave an image a name which is not one of ours."""
    other = next((name for name in image.names if name not in own), "")
    return f"somebody named it {other}" if other else ""


def _standin_names(ref: str) -> tuple[str, ...]:
    """The names of an image that Dockerfiles stand on."""
    return (ref, standin_name(ref)) if recipe_for(ref) else (ref,)


def _standin_texts(bases: Iterable[str]) -> frozenset[str]:
    """The steps that stand-ins are made with, as the engine tells of them: nothing else has these."""
    texts = [dockerfile(recipe, ref) for ref in bases if (recipe := recipe_for(ref))]
    return frozenset(text for one in texts for text in written_texts(parse(one)))
