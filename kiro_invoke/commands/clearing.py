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
from kiro_invoke.cache.superseded import Superseded, superseded_images, superseded_records
from kiro_invoke.cache.whose import other_checkouts
from kiro_invoke.commands.recording import veiled
from kiro_invoke.engine.disk import Room
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.metrics.entry import IMAGE, MEASURING, Window
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import BuildFailed, KiroError
from kiro_invoke.model.service import Project

Say = Callable[[str], None]

#: As the history keeps a step's text.
_LONGEST = 500
#: Most builds of many days find nothing to do, and tell nothing of what others add.
_LOOKED_THROUGH = Window(last=500)


class Cleaner(Protocol):
    """Makes room for a build on the engine's disk, from what is this project's own."""

    def could_free(self) -> Sequence[Freeable]:
        """What may be removed."""

    def free(self, bytes: int, say: Say) -> int:
        """Remove as much of it; the bytes that were freed. `say` is told what went."""


@dataclass(frozen=True)
class SupersededCleaner:
    """Removes what newer builds of this checkout replaced."""

    engine: Engine
    project: Project
    recipes: Sequence[Recipe]

    def could_free(self) -> Sequence[Freeable]:
        size = sum(item.size for item in self.planned().remove)
        return (Freeable("what newer builds replaced", "kiro clean-cache", size),) if size else ()

    def planned(self) -> Superseded:
        """The layers and mounts that go."""
        whose = owner(self.project, self.recipes)
        known = self.engine.images_labelled(LABEL_CHECKOUT)
        records = self.engine.cache_records()
        made = read_made(self.project.state / LAYERS).read(records, self.engine.facts.address).layers
        if superseded_images(known, whose).remove:
            # what they hold is free to go once they are gone
            records = tuple(replace(one, shared=one.shared and one.id not in made) for one in records)
        others = other_checkouts(records, known, whose)
        return superseded_records(records, whose, made=made, now=time.time(), others=others)

    def free(self, bytes: int, say: Say) -> int:
        cause, freed = f"{told_bytes(bytes)} are wanted", 0
        # what an image that was just removed still holds goes at the next look
        while freed < bytes and (more := reclaim(self.engine, self.project, self.recipes, cause=cause).freed):
            freed += more
        if freed:
            say(f"reclaimed {told_bytes(freed)} of superseded layers and mounts: {cause}")
        return freed


def clear(
    room: Room,
    need: Need,
    floor: int,
    making: Callable[[], Cleaner],
    *,
    look: Callable[[], Room | None],
    say: Say,
) -> None:
    """Remove what may go where the floor would not stay free; BuildFailed where that is not enough.

    `making` gives the cleaner, where one is wanted: to know all of a checkout takes longer than to look at a disk.
    `look` tells what is free afterwards. Where it is known beforehand that it would not do, nothing is removed.
    """
    if not isinstance(decide(room, need, floor, ()), Stop):
        return
    cleaner = making()
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
    failed: BuildFailed,
    recipes: Sequence[Recipe],
    cleaner: Callable[[], Cleaner],
    *,
    look: Callable[[], Room | None],
) -> None:
    """Let a failure say what was full and what would help, where that is why it failed."""
    shortage = failed.shortage if isinstance(failed, NoRoom) else shortage_of([failed.message])
    if shortage is None:
        return
    told = explains(shortage, look(), in_memory=_in_memory(failed, recipes))
    failed.message = f"{failed.message}: {told.why}"
    cleaning = remedies(_could_free(cleaner)) if told.is_engines else ""
    failed.fix = "; ".join(filter(None, (told.fix, cleaning, failed.fix)))


def _could_free(cleaner: Callable[[], Cleaner]) -> Sequence[Freeable]:
    """What would help, as far as an engine without room tells it."""
    with suppress(KiroError):
        return cleaner().could_free()
    return ()


def _in_memory(failed: BuildFailed, recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """Where the step that failed has file systems in memory; any step, where it is not known which one that was."""
    return tuple(
        mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        for recipe in recipes
        if failed.file is None or str(recipe.path).endswith(f"/{failed.file}")
        for stage in recipe.parsed.stages
        for one in stage.instructions
        if failed.line is None or one.line <= failed.line <= one.last_line
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
        ran = {row.build for row in store.images(_LOOKED_THROUGH) if row.image.ran}
        builds = [
            build
            for build in store.builds(_LOOKED_THROUGH)
            if build.id in ran and build.way == IMAGE and build.command != MEASURING
        ][-FORMER_BUILDS:]
        before: int | None = None
        for build in builds:
            grew = 0 if before is None or build.cache_mounts is None else build.cache_mounts - before
            before = before if build.cache_mounts is None else build.cache_mounts
            steps = ((step.service, step.text) for step in store.steps(build.id) if ran_here(step))
            found.append(Former(tuple(steps), grew))
    return tuple(found)
