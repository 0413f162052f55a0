"""One build as a graph: room and base images made available, where it is built, what is shared, what is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from kiro_invoke.builds.cache_patience import CacheSilent
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.progress import Observer
from kiro_invoke.cache import proving, warm
from kiro_invoke.cache.namespaces import clean_namespace
from kiro_invoke.commands import guarding, opening
from kiro_invoke.commands.recording import Recorder
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.retrying import Building
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.bases import Base
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BaseUnavailable, EngineError
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.model.service import Project
from kiro_invoke.screen import observer_for

if TYPE_CHECKING:
    from kiro_invoke.commands.clearing import Cleaner


def build_now(
    surface: Surface,
    project: Project,
    engine: Engine,
    recipes: tuple[Recipe, ...],
    request: Request,
    *,
    shown: Observer | None = None,
    brake: Brake | None = None,
) -> BuildRecord:
    """Make room and the base images available, then build the plan as one graph; once more where a cache mount
    is damaged.

    `shown` is told what happens, in place of a screen. executor.Stopped where the brake ended it.
    """

    def here(request: Request) -> BuildRecord:
        cleaner = cleaner_for(surface, engine)
        with guarding.guarded(project, engine, recipes, surface.say, is_clean=request.clean, cleaner=cleaner):
            return _built(surface, project, engine, recipes, request, shown, brake)

    if project.builder is None:
        return here(request)
    from kiro_invoke.commands import sharing  # most build where their images are

    def far(builder: Engine) -> BuildRecord:
        return _built(surface, project, builder, recipes, request, shown, brake)

    def instead(why: str) -> BuildRecord:
        record = here(replace(request, push=False))
        if not request.push:
            return record
        surface.say(f"the shared cache was not filled: {why}")
        return replace(record, unpushed=(why,))

    return sharing.built(surface, project, engine, far, instead)


def cleaner_for(surface: Surface, engine: Engine) -> Callable[[], Cleaner]:
    """What makes room for a build where that is short."""

    def cleaner() -> Cleaner:
        from kiro_invoke.commands import held, own_room  # most builds have plenty of room

        return own_room.OldestCleaner(held.whole_checkout(surface, engine))

    return cleaner


def _built(
    surface: Surface,
    project: Project,
    engine: Engine,
    recipes: tuple[Recipe, ...],
    request: Request,
    shown: Observer | None,
    brake: Brake | None,
) -> BuildRecord:
    prepared = prepared_for(surface, project, engine, recipes, request)
    for line in opening.standin_lines(prepared.bases):
        surface.say(line)
    recorder = Recorder(project, request.command, engine.facts.address, surface.say, is_clean=request.clean)
    building = begun(surface, project, engine, recorder, shown=shown, brake=brake)
    build = partial(_cleanly, building) if request.clean else building.twice
    record = (
        build(prepared) if project.shared is None else _sharing(surface, building, prepared, build, request)
    )
    tell_of_proofs(surface, project, prepared)
    return record


def _sharing(
    surface: Surface,
    building: Building,
    prepared: warm.Prepared,
    build: Callable[[warm.Prepared], BuildRecord],
    request: Request,
) -> BuildRecord:
    """The same with the shared cache; where that does not answer, once more without it.

    A builder that waits for it is given up: BuildKit lets the next build of the same steps wait as well.
    """
    from kiro_invoke.commands import sharing  # most share none

    project, engine = building.project, building.engine
    always = request.command == "warm-cache"  # it makes warm what was lost here, too
    shared = sharing.with_cache(surface, project, engine, prepared, push=request.push, always=always)
    try:
        record = build(shared.prepared)
    except CacheSilent as silence:
        if engine.facts.builder and not silence.writing:
            raise EngineError(str(silence), fix="see whether it still runs") from None
        surface.say(f"{silence}: building once more without it")
        record = sharing.without_answer(build(prepared), silence, push=request.push)
    unpushed = (*shared.silent, *record.unpushed) if request.push else record.unpushed
    record = replace(record, unread=(*shared.silent, *record.unread), unpushed=unpushed)
    for line in sharing.lines(record):
        surface.say(line)
    sharing.note(project, engine, shared.prepared, record)
    return record


def begun(
    surface: Surface,
    project: Project,
    engine: Engine,
    recorder: Recorder,
    *,
    shown: Observer | None = None,
    brake: Brake | None = None,
) -> Building:
    """What one attempt is and another would be, shown on the screen or told to `shown`."""

    def attempt(prepared: warm.Prepared) -> BuildRecord:
        observer: Observer
        showing: AbstractContextManager[object]
        observer, showing = (shown, nullcontext()) if shown else observer_for(surface.err, surface.environ)
        with showing:
            return warm.run(
                prepared,
                project,
                engine,
                observer,
                say=surface.say,
                brake=brake,
                bases_again=lambda: _bases(surface, project, engine, prepared.recipes, pull=False),
            )

    recorder.prepare()
    return Building(surface, project, engine, recorder, attempt, brake)


def tell_of_proofs(surface: Surface, project: Project, prepared: warm.Prepared) -> None:
    """Say of which images the label alone is proof."""
    images = [target.tag for target in prepared.plan.targets if target.tag]
    for line in proving.notes(proving.read_proven(project.state), images):
        surface.say(line)


def _cleanly(building: Building, prepared: warm.Prepared) -> BuildRecord:
    """Its cache mounts held nothing before, and go afterwards: none can have been damaged."""
    from kiro_invoke.cache.reclaim import drop_namespace  # most builds take nothing back

    try:
        record = building.once(prepared)
    finally:
        drop_namespace(building.engine, prepared.around.namespace)
    building.recorder.built(record)
    return record


def prepared_for(
    surface: Surface, project: Project, engine: Engine, recipes: tuple[Recipe, ...], request: Request
) -> warm.Prepared:
    """The build that is asked for, its base images made available."""
    bases = _bases(surface, project, engine, recipes, pull=request.pull)
    syntax = frozenset() if engine.facts.builder else opening.unreachable_syntax(project, engine, recipes)
    if syntax:
        surface.say(
            f"no registry answers for {', '.join(sorted(syntax))}: built with the engine's own frontend"
        )
    trusting = replace(project, ca_bundle=opening.ca_bundle(project, surface))
    prepared = warm.prepare(trusting, recipes, request.planning, bases, offline_syntax=syntax)
    prepared = released_as_asked(surface, project, engine, prepared.without_foreign_proofs(), request)
    if engine.facts.builder:
        from kiro_invoke.engine.machine import machine_mark  # most build where their images are

        # CI runners have their checkouts at one place
        prepared = replace(prepared, around=replace(prepared.around, machine=machine_mark()))
    if request.clean:
        return prepared.in_namespace(clean_namespace(project.checkout, time.time_ns()))
    return prepared


def released_as_asked(
    surface: Surface, project: Project, engine: Engine | None, prepared: warm.Prepared, request: Request
) -> warm.Prepared:
    if request.profiles != (Profile.PROD,):
        return prepared
    from kiro_invoke.commands.releasing import released  # most builds are those of a loop

    return released(surface, project, engine, prepared, request.leaving, is_clean=request.clean)


def _bases(
    surface: Surface, project: Project, engine: Engine, recipes: tuple[Recipe, ...], *, pull: bool
) -> tuple[Base, ...]:
    """The base images, made available; BuildFailed names the line that asks for one which cannot be.

    A builder has images of its own: none is made available for it.
    """
    if engine.facts.builder:
        return ()
    resolver = opening.base_resolver(project, engine, surface, pull=pull)
    try:
        return resolver(warm.wanted_bases(project, recipes), surface.say)
    except BaseUnavailable as trouble:
        raise warm.placed(trouble, project, recipes) from None
