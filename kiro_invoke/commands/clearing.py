"""What a build probably needs of the engine's disk, and what may be removed for it: read where room is short."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.full_disk import NoRoom, explains, shortage_of
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.guard import FORMER_BUILDS, Former, Freeable, Need, Stop, decide, need_of, remedies
from kiro_invoke.cache.made import ran_here
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.cache.reclaim import owner, reclaim
from kiro_invoke.cache.remembered import LAYERS, read_made
from kiro_invoke.cache.superseded import superseded_images, superseded_records
from kiro_invoke.commands.recording import veiled
from kiro_invoke.engine.disk import Room
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.metrics.entry import IMAGE, MEASURING, Window
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import BuildFailed, EngineError, KiroError
from kiro_invoke.model.service import Project

Say = Callable[[str], None]

#: As the history keeps a step's text.
_LONGEST = 500


class Cleaner(Protocol):
    """Makes room for a build on the engine's disk, from what is this project's own."""

    def could_free(self) -> Sequence[Freeable]:
        """What may be removed without being asked."""

    def free(self, bytes: int, say: Say) -> int:
        """Remove as much of it; the bytes that were freed. `say` is told what went."""


@dataclass(frozen=True)
class SupersededCleaner:
    """Removes what newer builds of this checkout replaced."""

    engine: Engine
    project: Project
    recipes: Sequence[Recipe]

    def could_free(self) -> Sequence[Freeable]:
        whose = owner(self.project, self.recipes)
        known = self.engine.images_labelled(f"{LABEL_CHECKOUT}={whose.checkout}")
        records = self.engine.cache_records()
        made = read_made(self.project.state / LAYERS).layers
        if superseded_images(known, whose).remove:
            # what they hold is free to go once they are gone
            records = tuple(replace(one, shared=one.shared and one.id not in made) for one in records)
        plan = superseded_records(records, whose, made=made, now=time.time())
        size = sum(item.size for item in plan.remove)
        return (Freeable("what newer builds replaced", "kiro build", size),) if size else ()

    def free(self, bytes: int, say: Say) -> int:
        done = reclaim(self.engine, self.project, self.recipes, cause=f"{told_bytes(bytes)} are wanted")
        if done.freed:
            say(f"reclaimed {told_bytes(done.freed)} of superseded layers and mounts: {done.cause}")
        return done.freed


def clear(
    room: Room, need: Need, floor: int, cleaner: Cleaner, *, look: Callable[[], Room | None], say: Say
) -> None:
    """Remove what may go where the floor would not stay free; BuildFailed where that is not enough.

    `look` tells what is free afterwards. Where it is known beforehand that it would not do, nothing is removed.
    """
    if not isinstance(decide(room, need, floor, ()), Stop):
        return
    found = decide(room, need, floor, cleaner.could_free())
    if isinstance(found, Stop):
        raise BuildFailed(found.message, fix=found.fix)
    say(f"{found.cause}: making room first")
    freed = cleaner.free(need.bytes + floor - room.free, say)
    left = decide(look() or room, need, floor, ())
    if isinstance(left, Stop):
        raise BuildFailed(
            f"{left.message}, though {told_bytes(freed)} were freed", fix=remedies(cleaner.could_free())
        )


def explain(
    failed: BuildFailed, recipes: Sequence[Recipe], cleaner: Cleaner, *, look: Callable[[], Room | None]
) -> None:
    """Let a failure say what was full and what would help, where that is why it failed."""
    shortage = failed.shortage if isinstance(failed, NoRoom) else shortage_of([failed.message])
    if shortage is None:
        return
    told = explains(shortage, look(), in_memory=_in_memory(recipes))
    failed.message = f"{failed.message}: {told.why}"
    failed.fix = "; ".join(filter(None, (told.fix or remedies(_could_free(cleaner)), failed.fix)))


def _could_free(cleaner: Cleaner) -> Sequence[Freeable]:
    """What would help, as far as an engine without room tells it."""
    with suppress(EngineError):
        return cleaner.could_free()
    return ()


def _in_memory(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Where the steps of these Dockerfiles have file systems in memory."""
    return tuple(
        mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        for recipe in recipes
        for stage in recipe.parsed.stages
        for one in stage.instructions
        for mount in one.mounts
        if mount.get("type") == "tmpfs"
    )


def needed(project: Project, engine: Engine, recipes: Sequence[Recipe], say: Say, *, is_clean: bool) -> Need:
    """What a build of these recipes probably adds, by what this checkout remembers of earlier ones on this engine."""
    made = read_made(project.state / LAYERS)
    known = made.engine == engine.facts.address
    proven = read_proven(project.state).images if known and not is_clean else {}
    cold = [
        recipe.service.name
        for recipe in recipes
        if recipe.tag not in proven or engine.image(recipe.tag) is None
    ]
    sizes = {veiled(text, project)[:_LONGEST]: size for text, size in made.sizes.items()} if known else {}
    return need_of([recipe.service.name for recipe in recipes], cold, _former(project, say), sizes)


def _former(project: Project, say: Say) -> tuple[Former, ...]:
    """The last builds of the history in which a step ran, newest last; none where it cannot be read."""
    store = Store(project.state, say)
    found: list[Former] = []
    with suppress(KiroError):
        if not store.path.exists():
            return ()
        before: int | None = None
        for build in store.builds(Window(last=2 * FORMER_BUILDS)):
            if build.way != IMAGE or build.command == MEASURING or build.cache_mounts is None:
                continue
            grew = build.cache_mounts - before if before is not None else 0
            before = build.cache_mounts
            ran = tuple((step.service, step.text) for step in store.steps(build.id) if ran_here(step))
            if ran:
                found.append(Former(ran, grew))
    return tuple(found[-FORMER_BUILDS:])
