"""The command `refresh-cache`: make a checkout's caches anew, and only then remove what they replace."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kiro_invoke import config
from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.clean import mounting_stages
from kiro_invoke.builds.planner import Profile, Recipe, plan_everything, shown, uncached
from kiro_invoke.cache import clean as cleaning
from kiro_invoke.cache import reclaim, warm
from kiro_invoke.cache.cleaning import What, Wish
from kiro_invoke.cache.namespaces import read_namespaces
from kiro_invoke.cache.places import Kind
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.cache.superseded import replaced_images
from kiro_invoke.commands import guarding, opening
from kiro_invoke.commands.build_fields import record_fields
from kiro_invoke.commands.clean_cache import note_cleaned
from kiro_invoke.commands.held import whole_checkout
from kiro_invoke.commands.one_build import begun, cleaner_for, prepared_for, tell_of_proofs
from kiro_invoke.commands.recording import Recorder
from kiro_invoke.commands.request import Request, planned
from kiro_invoke.commands.retrying import Building, settle
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.bases import Say
from kiro_invoke.engine.files import make_state_folder
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import EngineError, KiroError
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean
from kiro_invoke.screen import show_record

COMMAND = "refresh-cache"
_PROFILES = (Profile.PROD, Profile.DEV)


def refresh_cache(services: Sequence[str], *, dry_run: bool) -> Callable[[Surface], Answer]:
    """Build every stage in cache mounts that held nothing, and then remove what that replaced.

    What reads a cache mount, and what takes from it, runs anew. If it fails, images, mounts and layers are as before.
    """

    def body(surface: Surface) -> Answer:
        begin = time.monotonic()
        project = config.load(surface.folder, surface.environ, services=services)
        recipes = warm.read_recipes(project, _PROFILES)
        request = Request(tuple(services), _PROFILES, planned_anew, dry_run=dry_run, command=COMMAND)
        if dry_run:
            return _planned(project, recipes, request)
        make_state_folder(project.state)
        engine = opening.open_engine(surface, setup=False, state=project.state)
        record, freed = _refresh(surface, project, engine, recipes, request)
        total = round(time.monotonic() - begin, 3)
        namespaces = read_namespaces(project)
        fields = record_fields(record, total) | {
            "namespaces": {service.name: namespaces.of(service.name) for service in project.services},
            "freed_bytes": freed,
        }

        def show(to: Surface) -> None:
            show_record(to.out, record, total)
            to.out.line(f"freed  {told_bytes(freed)} of what was replaced")

        return Answer(fields, show)

    return body


def planned_anew(recipes: tuple[Recipe, ...]) -> BuildPlan:
    """Every stage, and those that cache mounts have a part in without the engine's cache."""
    plan = plan_everything(recipes, "refresh-cache builds every stage")
    return uncached(plan, {(r.service.name, r.path): mounting_stages(r.parsed) for r in recipes})


def _refresh(
    surface: Surface, project: Project, engine: Engine, recipes: tuple[Recipe, ...], request: Request
) -> tuple[BuildRecord, int]:
    """The build, and the bytes that were freed afterwards."""
    since = engine.info().clock or time.time()  # what it made is dated by its own clock
    cleaner = cleaner_for(surface, engine)
    with guarding.guarded(project, engine, recipes, surface.say, is_clean=True, cleaner=cleaner):
        return _in_new_namespace(surface, project, engine, recipes, request, since)


def _in_new_namespace(
    surface: Surface,
    project: Project,
    engine: Engine,
    recipes: tuple[Recipe, ...],
    request: Request,
    since: float,
) -> tuple[BuildRecord, int]:
    prepared = prepared_for(surface, project, engine, recipes, request)
    for line in opening.standin_lines(prepared.bases):
        surface.say(line)
    services = tuple(service.name for service in project.services)
    namespace = read_namespaces(project).next(time.time_ns())
    # what it runs anew, no change foretold
    recorder = Recorder(project, COMMAND, engine.facts.address, surface.say, is_clean=True)
    building = begun(surface, project, engine, recorder)
    record = _or_as_before(building, prepared.moved(services, namespace), namespace)
    freed = settle(surface, project, engine, services, namespace)
    recorder.built(record)
    tell_of_proofs(surface, project, prepared)
    freed += remove_replaced(engine, project, prepared.recipes, since, surface.say)
    return record, freed + remove_layers(surface, engine, services, since)


def _or_as_before(building: Building, prepared: warm.Prepared, namespace: str) -> BuildRecord:
    """The build in its new namespace. If it fails, no name is left with an image that was not proven."""
    engine = building.engine
    images = [target.tag for target in prepared.plan.targets if target.tag]
    before = {image: facts.id if (facts := engine.image(image)) else None for image in images}
    try:
        return building.in_new_namespace(prepared, namespace)
    except BaseException:
        put_back(engine, before, building.project, building.surface.say)
        raise


def put_back(engine: Engine, before: Mapping[str, str | None], project: Project, say: Say) -> None:
    """Give names back to the images that had them, where this checkout has taken them; None: there was none.

    One that is proven stays: a build that was waited for made it, or one that did not wait for this to end.
    """
    proven = read_proven(project.state).images
    for name, id in before.items():
        try:
            now = engine.image(name)
            if now is None or now.id == id or now.labels.get(LABEL_CHECKOUT) != project.checkout:
                continue
            if name in proven and proven[name].id == now.id:
                continue
            if id is None:
                engine.untag(name)
            else:
                engine.tag(id, name)
        except EngineError as trouble:
            say(f"{name} could not be given back to the image before: {trouble.message}")


def remove_replaced(
    engine: Engine, project: Project, recipes: Sequence[Recipe], since: float, say: Say
) -> int:
    """Remove what a refresh that began at `since` (epoch seconds) has replaced; the bytes that this freed.

    Mounts of namespaces that no service uses, images without a name, and what of layers was superseded.
    """
    freed = reclaim.drop_unused(engine, project, since)
    try:
        whose = reclaim.owner(project, recipes)
        for image in replaced_images(
            engine.images_labelled(f"{LABEL_CHECKOUT}={project.checkout}"), whose, since
        ):
            engine.remove_image(image.id)
        freed += reclaim.reclaim(engine, project, recipes, cause="refresh-cache replaced it").freed
    except EngineError as trouble:
        say(f"what was replaced is not all removed: {trouble.message}")
    return freed


def remove_layers(surface: Surface, engine: Engine, services: Sequence[str], since: float) -> int:
    """Remove the layers of these services that no build has used since then; the bytes that this freed.

    What an image holds stays: what is replaced, none does any more.
    """
    try:
        checkout = whole_checkout(surface, engine)
        wish = Wish(What.BUILD, frozenset(services), unused_since=since, kinds=frozenset({Kind.LAYER}))
        freed = cleaning.clean(engine, checkout.look, wish).freed
        note_cleaned(checkout)
    except KiroError as trouble:
        surface.say(f"what was replaced is not all removed: {trouble.message}")
        return 0
    return freed


def _planned(project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
    """What would be built, and which stages of it run anew."""
    answer = planned(project, recipes, request)
    stages = {shown(recipe.path, project.root): mounting_stages(recipe.parsed) for recipe in recipes}

    def show(surface: Surface) -> None:
        answer.show(surface)
        for file, names in stages.items():
            surface.out.line(clean(f"anew   {file}: {', '.join(names) or 'nothing'}"))

    anew_rows = [{"dockerfile": file, "stages": list(names)} for file, names in stages.items()]
    return replace(answer, fields={**answer.fields, "anew": anew_rows}, show=show)
