"""Build once more, and never a third time, where a cache mount is damaged."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kiro_invoke import config
from kiro_invoke.builds.executor import Stopped
from kiro_invoke.builds.proof import NotProven
from kiro_invoke.cache import proving, warm
from kiro_invoke.cache.namespaces import Namespaces, move, read_namespaces
from kiro_invoke.commands.recording import Recorder
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BuildFailed, KiroError
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.model.service import Project

if TYPE_CHECKING:
    from kiro_invoke.cache.curing import Cure

#: Builds what is prepared. BuildFailed, and executor.Stopped where a brake ended it.
Attempt = Callable[[warm.Prepared], BuildRecord]


@dataclass(frozen=True)
class Building:
    """What a build and a second one have in common."""

    surface: Surface
    project: Project
    engine: Engine
    recorder: Recorder
    attempt: Attempt
    brake: Brake | None = None

    def once(self, prepared: warm.Prepared) -> BuildRecord:
        """One attempt, remembered where it fails."""
        try:
            return self.attempt(prepared)
        except BuildFailed as error:
            self.recorder.failed(error)
            if isinstance(error, NotProven):
                images = [target.tag for target in prepared.plan.targets if target.tag]
                proving.check_names(self.engine, images, self.project.checkout)
            raise

    def twice(self, prepared: warm.Prepared) -> BuildRecord:
        """An attempt, and where a cache mount is found to be damaged another in a new namespace."""
        try:
            record = self.once(prepared)
        except BuildFailed as error:
            from kiro_invoke.cache.curing import cure_of  # most builds need none of it

            new = read_namespaces(self.project).next(time.time_ns())
            cure = cure_of(prepared, error, new)
            if cure is None:
                raise
        else:
            self.recorder.built(record)
            return record
        for line in cure.said:
            self.surface.say(line)
        return self._cured(cure)

    def _cured(self, cure: Cure) -> BuildRecord:
        """Nothing is remembered of a namespace in which the build failed as well."""
        if self.brake is not None and self.brake.pulled:
            raise Stopped
        record = self.in_new_namespace(cure.prepared, cure.namespace)
        settle(self.surface, self.project, self.engine, cure.services, cure.namespace)
        self.recorder.built(record, cured=cure.causes)
        return record

    def in_new_namespace(self, prepared: warm.Prepared, namespace: str) -> BuildRecord:
        """One attempt in it; nothing is left of it where that fails."""
        from kiro_invoke.cache.reclaim import drop_namespace

        try:
            return self.once(prepared)
        except BaseException:
            drop_namespace(self.engine, namespace)
            raise


def settle(
    surface: Surface, project: Project, engine: Engine, services: Collection[str], namespace: str
) -> int:
    """From now on these services are in that namespace; what they leave behind, and no other uses, goes: its bytes."""
    from kiro_invoke.cache.reclaim import drop_mounts

    before = read_namespaces(project)
    try:
        move(project, services, namespace)
    except OSError as error:
        surface.say(f"the new namespace of cache mounts cannot be remembered: {error.strerror}")
        return 0
    return drop_mounts(engine, left_behind(surface, project, services, before))


def left_behind(
    surface: Surface, project: Project, services: Collection[str], before: Namespaces
) -> frozenset[tuple[str, str]]:
    """The mounts that these services leave behind; none where it is not known what the others use."""
    from kiro_invoke.cache.reclaim import mounts_left
    from kiro_invoke.commands.held import read_all

    try:
        whole = config.load(project.root, surface.environ)
    except KiroError:
        return frozenset()
    # what cannot be read says so when it is built: here it is not known, then, what it uses
    recipes = read_all(whole, lambda _line: None)
    return mounts_left(recipes, whole.names, services, before)
