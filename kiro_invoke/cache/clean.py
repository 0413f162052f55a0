"""Carry out what was planned to go, and tell what is free then by a second reading. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from kiro_invoke.cache.cleaning import CleanPlan, Going, Wish, plan_clean
from kiro_invoke.cache.holdings import Holding, Holdings
from kiro_invoke.cache.reclaim import prune_leaves
from kiro_invoke.engine.protocol import Engine, ImageFacts
from kiro_invoke.model.errors import EngineError

#: How often is planned anew: what an image held shows only when it is gone.
_ROUNDS = 5


@dataclass(frozen=True)
class Cleaned:
    """What is gone, what was to go and is still there, what stays, and the bytes that are free by a second reading.

    `foretold` are the bytes that were reckoned to be.
    """

    images: tuple[Going, ...]
    records: tuple[Going, ...]
    left: tuple[Going, ...]
    keep: tuple[Going, ...]
    freed: int
    foretold: int
    before: Holdings
    after: Holdings


def clean(engine: Engine, look: Callable[[], Holdings], wish: Wish) -> Cleaned:
    """Remove what `wish` asks for: images, then leaf by leaf what the cache holds, until nothing changes.

    Each round is planned on what is read anew: it is told, and taken, as it is now. An EngineError tells what was
    removed by then.
    """
    before = now = look()
    foretold = plan_clean(before, wish).frees
    images: dict[str, Going] = {}
    records: dict[str, Going] = {}
    with _counting(images, records):
        for _ in range(_ROUNDS):
            plan = plan_clean(now, wish)
            removed = _remove(engine, plan, images)
            if removed:
                now = look()
                plan = plan_clean(now, wish)
            gone = prune_leaves(engine, [going.item.id for going in plan.records])
            records |= {going.item.id: going for going in plan.records if going.item.id in gone}
            if not removed and not gone:
                break
            now = look()
        else:
            plan = plan_clean(now, wish)
    left = tuple(going for going in (*plan.images, *plan.records) if going.item.id in now.by_id)
    return Cleaned(
        tuple(images.values()),
        tuple(records.values()),
        left,
        plan.keep,
        _freed(before, now),
        foretold,
        before,
        now,
    )


def _remove(engine: Engine, plan: CleanPlan, images: dict[str, Going]) -> bool:
    """Take away the planned images, noted in `images`; whether any went."""
    before = len(images)
    for going in plan.images:
        if _removed(engine, going.item):
            images[going.item.id] = going
    return len(images) > before


@contextmanager
def _counting(images: Sized, records: Sized) -> Iterator[None]:
    """An EngineError within tells what was removed by then."""
    try:
        yield
    except EngineError as trouble:
        if images or records:
            trouble.message += (
                f" (by then, {len(images)} images and at least {len(records)} layers and mounts were removed)"
            )
        raise


def _removed(engine: Engine, image: Holding) -> bool:
    """Whether it is gone; a container may have been made of it meanwhile, and its names are somebody else's too."""
    with suppress(EngineError):
        for name in image.names:
            if _is(image, engine.image(name)):  # a build may have given it to another one meanwhile
                engine.untag(name)
    return engine.remove_image(image.id) or engine.image(image.id) is None


def _is(image: Holding, facts: ImageFacts | None) -> bool:
    return facts is not None and facts.id == image.id


def _freed(before: Holdings, after: Holdings) -> int:
    """The bytes that all that was there before holds less now; what others made meanwhile does not count."""
    known = {record.id for record in before.facts.records}
    images = {image.id for image in before.facts.images}
    cache = sum(record.size for record in after.facts.records if record.id in known and not record.shared)
    held = after.all_image_bytes(images)
    return max(0, before.cache_bytes + before.all_image_bytes(images) - cache - held)
