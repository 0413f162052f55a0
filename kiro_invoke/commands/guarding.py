"""See to it before a build that the engine's disk has room for it, and explain afterwards that it had none."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kiro_invoke.builds.planner import Recipe
from kiro_invoke.engine.disk import Room, room_of
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed, KiroError
from kiro_invoke.model.service import Project

if TYPE_CHECKING:
    from kiro_invoke.commands.clearing import Cleaner

Say = Callable[[str], None]
Look = Callable[[Engine, Path], Room | None]

#: More than a build is ever taken to need: with so much above the floor, nobody looks into the history.
PLENTY_BYTES = 20_000_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


def make_room(
    project: Project,
    engine: Engine,
    recipes: Sequence[Recipe],
    say: Say,
    *,
    is_clean: bool = False,
    cleaner: Callable[[], Cleaner] | None = None,
    look: Look = room_of,
) -> None:
    """Before a build of these recipes: clean where the floor would not stay free, BuildFailed where that is not enough.

    With `is_clean` the build takes nothing from what is there. Nothing is done where the engine's disk is not here.
    """
    if project.disk_floor <= 0:
        return
    room = look(engine, project.state)
    if room is None or room.free >= project.disk_floor + PLENTY_BYTES:
        return
    from kiro_invoke.commands import clearing  # most builds have plenty

    need = clearing.needed(project, engine, recipes, say, is_clean=is_clean)
    clearing.clear(
        room,
        need,
        project.disk_floor,
        cleaner or (lambda: clearing.SupersededCleaner(engine, project, recipes)),
        look=lambda: look(engine, project.state),
        say=say,
    )


@contextmanager
def explaining(
    project: Project,
    engine: Engine,
    recipes: Sequence[Recipe],
    *,
    cleaner: Callable[[], Cleaner] | None = None,
    look: Look = room_of,
) -> Iterator[None]:
    """While inside, a build that fails because something is full says what it was, and what would help."""
    try:
        yield
    except BuildFailed as failed:
        from kiro_invoke.commands import clearing  # most builds succeed

        clearing.explain(
            failed,
            recipes,
            cleaner or (lambda: clearing.SupersededCleaner(engine, project, recipes)),
            look=lambda: look(engine, project.state),
        )
        raise
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise KiroError(
            f"this machine's disk is full: {error.strerror}",
            file=str(error.filename or project.state),
            fix="make room there; what was built before is still there",
        ) from None


@contextmanager
def guarded(
    project: Project,
    engine: Engine,
    recipes: Sequence[Recipe],
    say: Say,
    *,
    is_clean: bool,
    cleaner: Callable[[], Cleaner],
) -> Iterator[None]:
    """A build of these recipes, for which room is made first, and whose failure for lack of it is explained."""
    make_room(project, engine, recipes, say, is_clean=is_clean, cleaner=cleaner)
    with explaining(project, engine, recipes, cleaner=cleaner):
        yield
