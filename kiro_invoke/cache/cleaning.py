"""Which of a checkout's things on an engine are to go: what was asked for, decided on what was read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
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
    """What a person asked for. `services`: only theirs (none: everybody's).

    `unused_since`: only what was not used since then (epoch). `at_most`: only as much as it takes to have no more than
    so many bytes.
    """

    what: What = What.ALL
    services: frozenset[str] = frozenset()
    unused_since: float | None = None
    at_most: int | None = None


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
    stays: dict[str, str] = {}
    for item in held.items:
        if cause := _why_stays(item, wish):
            stays[item.id] = cause
    images = [item for item in held.items if item.is_image and item.id not in stays]
    for item in [one for one in images if one.kind is Kind.STANDIN]:
        user = next((one for one in held.items if one.id in stays and held.stand_on(item.id, one.id)), None)
        if user is not None and user.id != item.id:
            stays[item.id] = f"{user.what} stands on it and stays"
    records = _free(held, stays)
    chosen = [*(item for item in images if item.id not in stays), *records]
    if wish.at_most is not None:
        chosen = _until(held, chosen, wish.at_most)
    ids = {item.id for item in chosen}
    keep = [
        Going(item, stays.get(item.id) or _why_left(item, wish)) for item in held.items if item.id not in ids
    ]
    going_images = tuple(Going(item, _why_goes(item, wish)) for item in chosen if item.is_image)
    going = [item for item in chosen if not item.is_image]
    going.sort(key=lambda item: held.graph.depth(item.id), reverse=True)
    return CleanPlan(
        going_images,
        tuple(Going(item, _why_goes(item, wish)) for item in going),
        tuple(keep),
        _frees(held, chosen),
    )


def _why_stays(item: Holding, wish: Wish) -> str:
    """Why a thing does not go by itself; "" where it may."""
    if not item.is_ours:
        return item.why
    if item.held:
        return item.held
    if wish.services and not (item.services and item.services <= wish.services):
        return "it is of another service" if item.services else "it is not of one service"
    if wish.unused_since is not None and item.used >= wish.unused_since:
        return "it was used since"
    if wish.what is What.BUILD and item.is_image:
        return "images were not asked for"
    if wish.what is What.IMAGES and not item.is_image:
        return "layers and mounts were not asked for"
    if wish.what is What.BUILD and item.shared:
        return "an image holds it"
    return ""


def _free(held: Holdings, stays: Set[str] | dict[str, str]) -> list[Holding]:
    """The records that may go: not what anything stands on that stays, somebody else's included."""
    graph = held.graph
    candidates = {item.id for item in held.items if not item.is_image and item.id not in stays}
    standing = graph.above(graph.by_id.keys() - candidates)
    return [held.by_id[id] for id in candidates - standing]


def _until(held: Holdings, chosen: Sequence[Holding], at_most: int) -> list[Holding]:
    """Of these, the ones that go until no more than so many bytes are ours: what was used longest ago first.

    What stands on a thing was used no later than that, so it comes before it.
    """
    left = held.bytes_of(held.ours)
    gone: list[Holding] = []
    images: set[str] = set()
    for item in sorted(chosen, key=lambda one: (one.used, one.is_image, -_depth(held, one), one.id)):
        if left <= at_most:
            break
        gone.append(item)
        if item.is_image:
            left -= held.image_bytes({*images, item.id}) - held.image_bytes(images)
            images.add(item.id)
        elif not item.shared:
            left -= item.size
    return gone


def _depth(held: Holdings, item: Holding) -> int:
    return 0 if item.is_image else held.graph.depth(item.id)


def _frees(held: Holdings, chosen: Iterable[Holding]) -> int:
    """The bytes that are free afterwards: of what an image and the cache hold both, both must go."""
    chosen = tuple(chosen)
    ids = {item.id for item in chosen}
    kept_shared = sum(item.size for item in held.items if item.shared and item.id not in ids)
    images = {item.id for item in chosen if item.is_image}
    own = sum(item.size for item in chosen if not item.is_image and not item.shared)
    return own + max(0, held.image_bytes(images) - kept_shared if images else 0)


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
