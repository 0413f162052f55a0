"""The commands that build: `warm-cache` and `build`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, Recipe, cleaned, plan_everything, plan_images
from kiro_invoke.builds.progress import Observer
from kiro_invoke.builds.proof import NotProven
from kiro_invoke.cache import proving, warm
from kiro_invoke.cache.namespaces import clean_namespace
from kiro_invoke.commands import guarding, opening
from kiro_invoke.commands.recording import Recorder, veiled
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.bases import Base
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import BaseUnavailable, BuildFailed, EngineError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.record import BuildRecord, StageRecord, Step
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean
from kiro_invoke.screen import observer_for, show_record, show_timings

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


def warm_cache(
    services: Sequence[str], *, pull: bool, setup: bool, dry_run: bool
) -> Callable[[Surface], Answer]:
    """Build every stage of every Dockerfile of the services, base images first."""
    request = Request(
        services=tuple(services),
        profiles=(Profile.PROD, Profile.DEV),
        planning=lambda recipes: plan_everything(recipes, "warm-cache builds every stage"),
        pull=pull,
        setup=setup,
        dry_run=dry_run,
        command="warm-cache",
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
) -> Callable[[Surface], Answer]:
    """Build one image of each service: the development one, or with `prod` the one that is shipped.

    With `clean`, nothing that other builds left in cache mounts can be in it. With `timings` it is told when each step
    ran.
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
    )
    return lambda surface: perform_build(surface, request)


def perform_build(surface: Surface, request: Request) -> Answer:
    """Do what `request` asks and answer with the record (docs/commands.md has the JSON)."""
    begun = time.monotonic()
    project = config.load(surface.folder, surface.environ, services=request.services)
    recipes = warm.read_recipes(project, request.profiles)
    if request.dry_run:
        return _dry(project, recipes, request)
    if request.show_definition:
        return _definition(surface, project, recipes, request)
    make_state_folder(project.state)
    engine = opening.open_engine(surface, setup=request.setup, state=project.state)
    record = build_now(surface, project, engine, recipes, request)
    total = round(time.monotonic() - begun, 3)
    fields = record_fields(record, total)
    if request.timings:
        fields |= {"steps": [_step_fields(step, record.began, project) for step in record.steps]}

    def show(shown: Surface) -> None:
        show_record(shown.out, record, total)
        if request.timings:
            show_timings(shown.out, record)

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
    """Make room and the base images available, then build the plan as one graph.

    `shown` is told what happens, in place of a screen. executor.Stopped where the brake ended it.
    """
    guarding.make_room(project, engine, recipes, surface.say, is_clean=request.clean)
    with guarding.explaining(project, engine, recipes):
        return _built(surface, project, engine, recipes, request, shown, brake)


def _built(
    surface: Surface,
    project: Project,
    engine: Engine,
    recipes: tuple[Recipe, ...],
    request: Request,
    shown: Observer | None,
    brake: Brake | None,
) -> BuildRecord:
    prepared = _prepared(surface, project, engine, recipes, request)
    for line in opening.standin_lines(prepared.bases):
        surface.say(line)
    observer: Observer
    showing: AbstractContextManager[object]
    observer, showing = (shown, nullcontext()) if shown else observer_for(surface.err, surface.environ)
    images = [target.tag for target in prepared.plan.targets if target.tag]
    recorder = Recorder(project, request.command, engine.facts.address, surface.say, is_clean=request.clean)
    recorder.prepare()
    try:
        with showing:
            record = warm.run(
                prepared,
                project,
                engine,
                observer,
                say=surface.say,
                brake=brake,
                bases_again=lambda: _bases(surface, project, engine, recipes, pull=False),
            )
    except BuildFailed as error:
        recorder.failed(error)
        if isinstance(error, NotProven):
            proving.check_names(engine, images, project.checkout)
        raise
    finally:
        if request.clean:
            from kiro_invoke.cache.reclaim import drop_namespace  # most builds take nothing back

            drop_namespace(engine, prepared.around.namespace)
    recorder.built(record)
    for line in proving.notes(proving.read_proven(project.state), images):
        surface.say(line)
    return record


def record_fields(record: BuildRecord, total: float) -> dict[str, Any]:
    """A build's part of the JSON object."""
    return {
        "seconds": total,
        "base_images": [_without_empty(asdict(base)) for base in record.base_images],
        "services": [
            {
                "name": image.service,
                "image": image.image,
                "dockerfile": image.dockerfile,
                "stages": [_stage_fields(stage, record.began) for stage in image.stages],
            }
            for image in record.images
        ],
        "cache_bytes": record.cache_bytes,
    }


def _prepared(
    surface: Surface, project: Project, engine: Engine, recipes: tuple[Recipe, ...], request: Request
) -> warm.Prepared:
    bases = _bases(surface, project, engine, recipes, pull=request.pull)
    syntax = opening.unreachable_syntax(project, engine, recipes)
    if syntax:
        surface.say(
            f"no registry answers for {', '.join(sorted(syntax))}: built with the engine's own frontend"
        )
    trusting = replace(project, ca_bundle=opening.ca_bundle(project, surface))
    prepared = warm.prepare(trusting, recipes, request.planning, bases, offline_syntax=syntax)
    prepared = prepared.without_foreign_proofs()
    if request.clean:
        return prepared.in_namespace(clean_namespace(project.checkout, time.time_ns()))
    return prepared


def _bases(
    surface: Surface, project: Project, engine: Engine, recipes: tuple[Recipe, ...], *, pull: bool
) -> tuple[Base, ...]:
    """The base images, made available; BuildFailed names the line that asks for one which cannot be."""
    resolver = opening.base_resolver(project, engine, surface, pull=pull)
    try:
        return resolver(warm.wanted_bases(project, recipes), surface.say)
    except BaseUnavailable as trouble:
        raise warm.placed(trouble, project, recipes) from None


def _dry(project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
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
    else:
        make_state_folder(project.state)
        prepared = _prepared(surface, project, engine, recipes, request)
        for line in opening.standin_lines(prepared.bases):
            surface.say(line)
    text = prepared.definition
    return Answer({"definition": text}, lambda s: s.out.unwrapped(text))


def _stage_fields(stage: StageRecord, began: float) -> dict[str, Any]:
    """A stage's row; of one that ran also when, in seconds after the build's first step that ran."""
    row: dict[str, Any] = {"name": stage.name, "seconds": stage.seconds, "cached": stage.cached}
    if not stage.cached:
        row |= {"started": round(stage.started - began, 3), "completed": round(stage.completed - began, 3)}
    return row


def _step_fields(step: Step, began: float, project: Project) -> dict[str, Any]:
    """A step's row, with the same times."""
    from kiro_invoke.metrics.entry import as_kept

    step = as_kept(step)
    row: dict[str, Any] = {
        "service": step.service,
        "stage": step.stage,
        "text": veiled(step.text, project),
        "cached": step.cached,
        "seconds": step.seconds,
    }
    if not step.cached:
        times = {"started": step.started, "completed": step.completed}
        row |= {name: round(max(time - began, 0.0), 3) for name, time in times.items()}
    return row


def _without_empty(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value != ""}
