"""The commands that build: `warm-cache` and `build`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kiro_invoke import config
from kiro_invoke.builds.executor import CacheSilent
from kiro_invoke.builds.planner import Profile, Recipe, cleaned, plan_everything, plan_images
from kiro_invoke.builds.progress import Observer
from kiro_invoke.builds.shipping import STAYING, Leaving, check_leaving
from kiro_invoke.cache import proving, warm
from kiro_invoke.cache.namespaces import clean_namespace
from kiro_invoke.commands import guarding, opening
from kiro_invoke.commands.build_fields import record_fields, shipped_fields, step_fields
from kiro_invoke.commands.recording import Recorder
from kiro_invoke.commands.retrying import Building
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.bases import Base
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BaseUnavailable, EngineError, ExitCode
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean
from kiro_invoke.screen import observer_for, show_record, show_timings

if TYPE_CHECKING:
    from kiro_invoke.commands.clearing import Cleaner

Planning = Callable[[tuple[Recipe, ...]], BuildPlan]


@dataclass(frozen=True)
class Request:
    """What a build command was asked for."""

    services: tuple[str, ...]
    profiles: tuple[Profile, ...]
    planning: Planning
    pull: bool = False
    setup: bool = False
    clean: bool = False
    dry_run: bool = False
    show_definition: bool = False
    command: str = "build"
    timings: bool = False
    #: Only the services that are affected since this git revision.
    since: str | None = None
    #: Fill the shared cache.
    push: bool = False
    leaving: Leaving = STAYING


def warm_cache(
    services: Sequence[str], *, pull: bool, setup: bool, dry_run: bool, push: bool = False
) -> Callable[[Surface], Answer]:
    """Build every stage of every Dockerfile of the services, base images first; with `push` for others too."""
    request = Request(
        services=tuple(services),
        profiles=(Profile.PROD, Profile.DEV),
        planning=lambda recipes: plan_everything(recipes, "warm-cache builds every stage"),
        pull=pull,
        setup=setup,
        dry_run=dry_run,
        command="warm-cache",
        push=push,
    )
    return lambda surface: perform_build(surface, request)


def build(
    services: Sequence[str],
    *,
    prod: bool,
    clean: bool,
    show_definition: bool,
    dry_run: bool,
    timings: bool = False,
    since: str | None = None,
    leaving: Leaving = STAYING,
) -> Callable[[Surface], Answer]:
    """Build one image of each service: the development one, or with `prod` the one that is shipped.

    With `clean`, nothing that other builds left in cache mounts can be in it. With `timings` it is told when each step
    ran. With `since`, only the services that are affected since that git revision.
    """
    profile = Profile.PROD if prod else Profile.DEV

    def planning(recipes: tuple[Recipe, ...]) -> BuildPlan:
        if clean:
            return cleaned(plan_images(recipes, f"asked for a clean {profile} image"), recipes)
        return plan_images(recipes, f"asked for the {profile} image")

    request = Request(
        services=tuple(services),
        profiles=(profile,),
        planning=planning,
        clean=clean,
        show_definition=show_definition,
        dry_run=dry_run,
        timings=timings,
        since=since,
        leaving=leaving,
    )
    return lambda surface: perform_build(surface, request)


def perform_build(surface: Surface, request: Request) -> Answer:
    """Do what `request` asks and answer with the record (docs/commands.md has the JSON)."""
    begun = time.monotonic()
    check_leaving(request.leaving, request.profiles)
    project = config.load(surface.folder, surface.environ, services=request.services)
    if request.since is None:
        return _performed(surface, project, request, begun)
    from kiro_invoke.commands import affecting  # most builds compare with no revision

    found = affecting.compare(project, request.since, surface, request.profiles[0])
    for line in found.lines:
        surface.say(line)
    if not found.affected:
        return affecting.nothing_to_build(found)
    answer = _performed(surface, project.only(found.affected), request, begun)
    return replace(answer, fields={**answer.fields, "since": found.build_fields})


def _performed(surface: Surface, project: Project, request: Request, begun: float) -> Answer:
    recipes = warm.read_recipes(project, request.profiles)
    if request.dry_run:
        return planned(project, recipes, request)
    if request.show_definition:
        return _definition(surface, project, recipes, request)
    make_state_folder(project.state)
    engine = opening.open_engine(surface, setup=request.setup, state=project.state)
    record = build_now(surface, project, engine, recipes, request)
    total = round(time.monotonic() - begun, 3)
    fields = record_fields(record, total)
    if request.timings:
        fields |= {"steps": [step_fields(step, record.began, project) for step in record.steps]}
    left = shipped_fields(recipes, request.leaving, surface.folder)
    if left:
        fields |= {"shipped": left}

    def show(shown: Surface) -> None:
        show_record(shown.out, record, total)
        if request.timings:
            show_timings(shown.out, record)
        for one in left:
            shown.out.line(clean(f"{'archived' if 'file' in one else 'pushed'} {' in '.join(one.values())}"))

    if request.push and record.unpushed:
        return Answer(fields, show, ok=False, exit_code=ExitCode.MISSED)
    return Answer(fields, show)


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
    prepared = _released(surface, project, engine, prepared.without_foreign_proofs(), request)
    if engine.facts.builder:
        from kiro_invoke.engine.machine import machine_mark  # most build where their images are

        # CI runners have their checkouts at one place
        prepared = replace(prepared, around=replace(prepared.around, machine=machine_mark()))
    if request.clean:
        return prepared.in_namespace(clean_namespace(project.checkout, time.time_ns()))
    return prepared


def _released(
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


def planned(project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
    """What would be built."""
    plan = request.planning(recipes)
    bases = warm.wanted_bases(project, recipes)
    fields = {
        "dry_run": True,
        "base_images": [{"ref": ref, "status": "wanted"} for ref in bases],
        "targets": [
            {"name": t.name, "service": t.service, "stage": t.stage, "tag": t.tag, "cause": t.cause}
            for t in plan.targets
        ],
    }

    def show(surface: Surface) -> None:
        for ref in bases:
            surface.out.line(clean(f"base   {ref}"))
        surface.out.line(clean(str(plan)))

    return Answer(fields, show)


def _definition(surface: Surface, project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
    """The definition as this engine would get it; without an engine, as it stands in the files."""
    try:
        engine = opening.open_engine(surface, setup=False)
    except EngineError as trouble:
        surface.say(f"without an engine, stand-ins are not looked for ({trouble.message})")
        prepared = warm.prepare(project, recipes, request.planning, ()).without_foreign_proofs()
        prepared = _released(surface, project, None, prepared, request)
    else:
        make_state_folder(project.state)
        prepared = prepared_for(surface, project, engine, recipes, request).on(engine.facts.architecture)
        for line in opening.standin_lines(prepared.bases):
            surface.say(line)
    text = prepared.definition
    return Answer({"definition": text}, lambda s: s.out.unwrapped(text))
