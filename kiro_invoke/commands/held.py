"""What the commands about the cache share: everything of this checkout, read now, and what its services are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.sending import unhurried
from kiro_invoke.cache.holdings import Holdings
from kiro_invoke.cache.usage import look
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.commands import opening
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.held_lock import HeldBy, only_one
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import ConfigError, KiroError
from kiro_invoke.model.service import Project

#: Held in their folder by measurements.
LOCK = "lock"


@dataclass(frozen=True)
class Checkout:
    """A checkout with all its services and an engine. `services` are those that were asked for (none: all)."""

    project: Project
    recipes: tuple[Recipe, ...]
    services: frozenset[str]
    engine: Engine

    def look(self) -> Holdings:
        """What the engine holds of it now."""
        return look(self.engine, self.project, self.recipes, measured_copies(self.project))

    @contextmanager
    def resting(self, surface: Surface) -> Iterator[None]:
        """While inside, no build of this checkout runs; one that does is waited for.

        KiroError while a measurement is under way: its images and mounts lie among what is this checkout's.
        """

        def waiting(service: str) -> None:
            surface.say(f"waiting for a build of {service} to end")

        lock = self.project.measured.parent / LOCK
        try:
            with (
                only_one(lock) if lock.exists() else nullcontext(),
                unhurried(self.recipes, self.project, waiting=waiting),
            ):
                yield
        except HeldBy as other:
            raise KiroError(
                f"a measurement of this checkout is under way, by process {other.pid}",
                fix="wait until it has ended",
            ) from None


def open_checkout(surface: Surface, services: Sequence[str]) -> Checkout:
    """The checkout and its engine; UsageError for a service that it does not have.

    What another service's layers and mounts are must be known as well: so all are read, whichever were asked for. Where
    one cannot be, it is said, and what would be its alone stays.
    """
    project = config.load(surface.folder, surface.environ)
    if services:
        config.load(surface.folder, surface.environ, services=services)
    state = project.state if project.state.is_dir() else None
    engine = opening.open_engine(surface, setup=False, state=state)
    return Checkout(project, read_all(project, surface.say), frozenset(services), engine)


def whole_checkout(surface: Surface, engine: Engine) -> Checkout:
    """The same with an engine that is open, and all services."""
    project = config.load(surface.folder, surface.environ)
    return Checkout(project, read_all(project, surface.say), frozenset(), engine)


def read_all(project: Project, say: Callable[[str], None]) -> tuple[Recipe, ...]:
    """The Dockerfiles of all services, those that can be read; `say` is told of the others."""
    recipes: list[Recipe] = []
    for service in project.services:
        try:
            recipes += read_recipes(replace(project, services=(service,)), (Profile.DEV, Profile.PROD))
        except ConfigError as error:
            say(f"{service.name} cannot be looked through: {error}")
    return tuple(recipes)


def measured_copies(project: Project) -> tuple[Project, ...]:
    """The copies of a project that measurements left in the state folder."""
    home = project.measured.parent
    try:
        folders = [entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        folders = []
    return tuple(replace(project, root=home / name) for name in sorted(folders))
