"""Which of a checkout's things on an engine are to go: what was asked for, decided on what was read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.cache.holdings import Holding, Holdings
from kiro_invoke.cache.places import Kind


class What(StrEnum):
    """What is to be cleaned: layers and mounts, images and stand-ins, or both."""

    BUILD = "build"
    IMAGES = "images"
    ALL = "all"


@dataclass(frozen=True)
class Wish:
    """What a person asked for. `services`: only theirs (none: everybody's); `kinds`: only of these (none: of all).

    `unused_since`: only what was not used since then (epoch). `at_most`: only as much as it takes to have no more than
    so many bytes of what is asked for. `among`: nothing but these, by id (None: anything).
    """

    what: What = What.ALL
    services: frozenset[str] = frozenset()
    unused_since: float | None = None
    at_most: int | None = None
    kinds: frozenset[Kind] = frozenset()
    among: frozenset[str] | None = None


@dataclass(frozen=True)
class Going:
    """A thing that goes or stays, and why."""

    item: Holding
    cause: str


@dataclass(frozen=True)
class CleanPlan:
    """What goes, in that order: images first, then leaves before what they stand on. `frees` are bytes, as reckoned.

    `keep` is what stays of what is this checkout's, or may be.
    """

    images: tuple[Going, ...] = ()
    records: tuple[Going, ...] = ()
    keep: tuple[Going, ...] = ()
    frees: int = 0

    @property
    def is_empty(self) -> bool:
        return not self.images and not self.records

    def __str__(self) -> str:
        rows = [("remove", going) for going in (*self.images, *self.records)]
        rows += [("keep", going) for going in self.keep]
        return "\n".join(f"{verb:<6} {going.item.what[:60]}: {going.cause}" for verb, going in rows)


def plan_clean(held: Holdings, wish: Wish) -> CleanPlan:
    """What goes when `wish` is asked for. What is in use, and what stays stands on, is not in it."""
    stays = {item.id: cause for item in held.items if (cause := _why_stays(item, wish))}
    stays |= _stood_on(held, stays)
    part_of = _part_of(held, stays)
    stays |= part_of
    images = [item for item in held.items if item.is_image and item.id not in stays]
    chosen = [*images, *_free(held, stays)]
    if wish.at_most is not None:
        chosen = _until(held, chosen, wish, wish.at_most)
    ids = {item.id for item in chosen}
    keep = [
        Going(item, stays.get(item.id) or _why_left(item, wish)) for item in held.items if item.id not in ids
    ]
    going = [item for item in chosen if not item.is_image]
    going.sort(key=lambda item: held.graph.leaves_first[item.id])
    return CleanPlan(
        tuple(Going(item, _why_goes(item, wish)) for item in chosen if item.is_image),
        tuple(Going(item, _why_goes(item, wish)) for item in going),
        tuple(keep),
        _frees(held, chosen, part_of),
    )


def _stood_on(held: Holdings, stays: Mapping[str, str]) -> dict[str, str]:
    """The stand-ins that an image stands on which stays."""
    staying = [item for item in held.items if item.is_image and item.id in stays]
    found: dict[str, str] = {}
    for item in held.items:
        if item.kind is Kind.STANDIN and item.is_image and item.id not in stays:
            user = next((one for one in staying if held.stand_on(item.id, one.id)), None)
            if user is not None:
                found[item.id] = f"{user.what} stands on it and stays"
    return found


def _part_of(held: Holdings, stays: Mapping[str, str]) -> dict[str, str]:
    """The layers that an image may hold which stays. Which ones it holds, the engine does not tell.

    What only an image held that is gone shows by the next reading.
    """
    staying = [item for item in held.items if item.is_image and item.id in stays]
    found: dict[str, str] = {}
    for item in held.items:
        if item.shared and not item.is_image and item.id not in stays:
            holder = next((image for image in staying if _may_hold(image, item)), None)
            if holder is not None:
                found[item.id] = f"{holder.what} may hold it and stays"
    return found


def _may_hold(image: Holding, layer: Holding) -> bool:
    if (image.kind is Kind.STANDIN) != (layer.kind is Kind.STANDIN):
        return False
    return not image.services or not layer.services or bool(image.services & layer.services)


def _why_stays(item: Holding, wish: Wish) -> str:
    """Why a thing does not go by itself; "" where it may."""
    if not item.is_ours:
        return item.why
    if item.held:
        return item.held
    if wish.among is not None and item.id not in wish.among:
        return "it was not told that it goes"
    if not _is_of_services(item, wish):
        return "it is of another service" if item.services else "it is not of one service"
    if wish.kinds and item.kind not in wish.kinds:
        return f"{item.kind} were not asked for"
    if wish.unused_since is not None and item.used >= wish.unused_since:
        return "it was used since"
    if wish.what is What.BUILD and item.is_image:
        return "images were not asked for"
    if wish.what is What.IMAGES and not item.is_image:
        return "layers and mounts were not asked for"
    if wish.what is What.BUILD and item.shared:
        return "an image holds it"
    return ""


def _is_of_services(item: Holding, wish: Wish) -> bool:
    return not wish.services or (bool(item.services) and item.services <= wish.services)


def _free(held: Holdings, stays: Mapping[str, str]) -> list[Holding]:
    """The records that may go: not what anything stands on that stays, somebody else's included."""
    graph = held.graph
    candidates = {item.id for item in held.items if not item.is_image and item.id not in stays}
    standing = graph.above(graph.by_id.keys() - candidates)
    return [held.by_id[id] for id in candidates - standing]


def _until(held: Holdings, chosen: Sequence[Holding], wish: Wish, at_most: int) -> list[Holding]:
    """Of these, the ones that go until no more than so many bytes are left of what was asked for.

    What was used longest ago goes first. What stands on a thing was used no later than that, so it comes before it.
    """
    asked = [item for item in held.ours if _is_of_services(item, wish) and _is_kind(item, wish.what)]
    records = [item for item in asked if not item.is_image]
    in_images = held.image_bytes({item.id for item in asked if item.is_image})
    besides = sum(item.size for item in records if not item.shared)
    # an image that goes leaves to the cache what that holds as well
    in_both = sum(item.size for item in records if item.shared) if wish.what is What.ALL else 0
    gone: list[Holding] = []
    images: set[str] = set()
    for item in sorted(chosen, key=lambda one: (one.used, *_place(held, one))):
        if besides + max(in_images - held.image_bytes(images), in_both) <= at_most:
            break
        gone.append(item)
        if item.is_image:
            images.add(item.id)
        elif item.shared:
            in_both -= item.size
        else:
            besides -= item.size
    return gone


def _is_kind(item: Holding, what: What) -> bool:
    return what is What.ALL or item.is_image == (what is What.IMAGES)


def _place(held: Holdings, item: Holding) -> tuple[bool, int, str]:
    """In which order things of one time go: records before images, and what stands on another before that."""
    place = -held.layer_count(item.id) if item.is_image else held.graph.leaves_first[item.id]
    return item.is_image, place, item.id


def _frees(held: Holdings, chosen: Iterable[Holding], part_of: Mapping[str, str]) -> int:
    """The bytes that are free afterwards: of what an image and the cache hold both, both must go.

    `part_of` are the layers of images that stay: no image that goes holds them alone.
    """
    chosen = tuple(chosen)
    ids = {item.id for item in chosen}
    images = {item.id for item in chosen if item.is_image}
    records = held.facts.records
    # what an image of others is made of, and all that this stands on: no image that goes holds it alone
    of_others = held.graph.above(one.id for one in records if one.shared and one.id not in held.by_id)
    held_yet = sum(
        item.size
        for item in held.items
        if item.shared and not item.is_image and item.id not in ids | part_of.keys() | of_others
    )
    own = sum(item.size for item in chosen if not item.is_image and not item.shared)
    return own + (max(0, held.image_bytes(images) - held_yet) if images else 0)


def _why_goes(item: Holding, wish: Wish) -> str:
    parts = [item.why]
    if wish.unused_since is not None:
        parts.append("unused for that long")
    if wish.at_most is not None:
        parts.append("used longest ago")
    return ", ".join(parts)


def _why_left(item: Holding, wish: Wish) -> str:
    if item.shared:
        return "an image that stays holds it"
    if wish.at_most is not None:
        return "there is room for it"
    return "what stays stands on it"


def by_cause(going: Iterable[Going]) -> Iterator[tuple[str, tuple[Going, ...]]]:
    """In groups of one cause, in the order in which they come first."""
    groups: dict[str, list[Going]] = {}
    for one in going:
        groups.setdefault(one.cause, []).append(one)
    for cause, some in groups.items():
        yield cause, tuple(some)
