"""The commands that build: `warm-cache` and `build`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from kiro_invoke import config
from kiro_invoke.builds.planner import Profile, Recipe, cleaned, plan_everything, plan_images
from kiro_invoke.builds.shipping import STAYING, Leaving, check_leaving
from kiro_invoke.cache import warm
from kiro_invoke.commands import opening
from kiro_invoke.commands.build_fields import record_fields, shipped_fields, step_fields
from kiro_invoke.commands.one_build import build_now, prepared_for, released_as_asked
from kiro_invoke.commands.request import Request, planned
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.model.errors import EngineError, ExitCode
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean
from kiro_invoke.screen import show_record, show_timings


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


def _definition(surface: Surface, project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
    """The definition as this engine would get it; without an engine, as it stands in the files."""
    try:
        engine = opening.open_engine(surface, setup=False)
    except EngineError as trouble:
        surface.say(f"without an engine, stand-ins are not looked for ({trouble.message})")
        prepared = warm.prepare(project, recipes, request.planning, ()).without_foreign_proofs()
        prepared = released_as_asked(surface, project, None, prepared, request)
    else:
        make_state_folder(project.state)
        prepared = prepared_for(surface, project, engine, recipes, request).on(engine.facts.architecture)
        for line in opening.standin_lines(prepared.bases):
            surface.say(line)
    text = prepared.definition
    return Answer({"definition": text}, lambda s: s.out.unwrapped(text))
