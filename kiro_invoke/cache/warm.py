"""Build a project's images, or every stage of them, with their base images made available first."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from kiro_invoke.builds.bake import Surroundings, definition
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.executor import Executed, attempt, execute, images
from kiro_invoke.builds.planner import Profile, Recipe, base_refs, shown, without_syntax_line
from kiro_invoke.builds.progress import Observer
from kiro_invoke.builds.proof import names_proof
from kiro_invoke.builds.shipping import shipped
from kiro_invoke.cache.leaving import leave
from kiro_invoke.cache.made import ran_here
from kiro_invoke.cache.namespaces import Namespaces, read_namespaces
from kiro_invoke.cache.proving import prove
from kiro_invoke.cache.remembered import LAYERS, cache_size, must_read, note_failed
from kiro_invoke.engine.bases import Base, Say
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.engine.side_by_side import beside
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import BaseUnavailable, BuildFailed, ConfigError
from kiro_invoke.model.plan import BuildPlan, Sending
from kiro_invoke.model.record import BaseRecord, BuildRecord, ImageChange
from kiro_invoke.model.service import Project, Secret, Service
from kiro_invoke.model.shipment import Shipment

if TYPE_CHECKING:
    from kiro_invoke.builds.noting import Notes

CA_SECRET = "ca_bundle"

#: Makes base images available: `bases.resolve` with everything but the names and the messages filled in.
ResolveBases = Callable[[Sequence[str], Say], tuple[Base, ...]]


@dataclass(frozen=True)
class Prepared:
    """A build that is ready to run: what each image is made from, the targets, what surrounds them.

    `tried` are the services that it has in a namespace which is not theirs yet. `shipment`: the images leave once they
    are proven.
    """

    recipes: tuple[Recipe, ...]
    plan: BuildPlan
    around: Surroundings
    bases: tuple[Base, ...]
    tried: frozenset[str] = frozenset()
    shipment: Shipment | None = None

    def in_namespace(self, namespace: str) -> Prepared:
        """The same build with cache mounts of its own."""
        return replace(self, around=replace(self.around, namespace=namespace, namespaces={}))

    def moved(self, services: Iterable[str], namespace: str) -> Prepared:
        """The same build, in which only these services have cache mounts of their own."""
        services = frozenset(services)
        namespaces = {**self.around.namespaces, **dict.fromkeys(services, namespace)}
        around = replace(self.around, namespaces=namespaces)
        return replace(self, around=around, tried=self.tried | services)

    def where_they_are(self, now: Namespaces) -> Prepared:
        """The same build, its services in the namespaces that they are in by now, but for those that it tries."""
        if self.around.namespace != now.checkout:
            return self  # a clean build has its own
        moved = {name: namespace for name, namespace in now.moved.items() if name not in self.tried}
        return replace(self, around=replace(self.around, namespaces={**self.around.namespaces, **moved}))

    def on(self, architecture: str) -> Prepared:
        """The same build as an engine of that architecture gets it."""
        return replace(self, around=self.around.loading(architecture))

    def without_foreign_proofs(self) -> Prepared:
        """The same build, in which no image is proven by a file that only its base image names."""
        without = frozenset(
            (recipe.service.name, recipe.path)
            for recipe in self.recipes
            if not names_proof(recipe.parsed, recipe.final)
        )
        return replace(self, around=replace(self.around, without_proof=without))

    @property
    def definition(self) -> str:
        if self.shipment:
            return definition(shipped(self.plan), replace(self.around, shipment=self.shipment))
        return definition(self.plan, self.around)


def read_recipes(project: Project, profiles: Sequence[Profile]) -> tuple[Recipe, ...]:
    """Each service's Dockerfile for each profile that it has; ConfigError if a service has none of them."""
    recipes: list[Recipe] = []
    for service in project.services:
        found = [_recipe(service, profile, project) for profile in profiles]
        if not any(found):
            raise ConfigError(
                f"service {service.name} has no {' or '.join(_FILES[profile] for profile in profiles)}",
                file=str(service.context.relative_to(project.root)),
                fix="add one, or name it in kiro.yaml",
            )
        recipes += [recipe for recipe in found if recipe is not None]
    return tuple(recipes)


def wanted_bases(project: Project, recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """The images to make available: what the Dockerfiles stand on, replaced as kiro.yaml says."""
    replaced = dict(project.base_images)
    refs = base_refs(recipes, dict(project.build_args))
    return tuple(dict.fromkeys(replaced.get(ref, ref) for ref in refs))


def prepare(
    project: Project,
    recipes: tuple[Recipe, ...],
    plan: Callable[[tuple[Recipe, ...]], BuildPlan],
    bases: tuple[Base, ...],
    *,
    offline_syntax: frozenset[str] = frozenset(),
) -> Prepared:
    """Put a build together. `offline_syntax` names `# syntax=` images that cannot be had (see planner)."""
    recipes = tuple(_usable(recipe, offline_syntax) for recipe in recipes)
    return Prepared(recipes, plan(recipes), surroundings(project, recipes, bases), bases)


def run(
    prepared: Prepared,
    project: Project,
    engine: Engine,
    observer: Observer,
    *,
    say: Say = lambda _text: None,
    clock: Callable[[], float] = time.monotonic,
    brake: Brake | None = None,
    bases_again: Callable[[], object] = lambda: None,
) -> BuildRecord:
    """Build from mirrors of the contexts, prove the images, and record what the engine did.

    executor.Stopped where the brake ended it. A BuildFailed carries what the engine did until then. `bases_again` makes
    the base images available once more, where another build was waited for: it may have been a cleaning. One that moved
    services to other namespaces has emptied those before.
    """

    from kiro_invoke.builds.sending import mirrored  # its locks load slowly, and most commands take none

    waited: list[str] = []

    def waiting(service: str) -> None:
        waited.append(service)
        say(f"waiting for another build of {service} to end")

    with mirrored(prepared.recipes, project, waiting=waiting) as sending:
        if waited:
            bases_again()
            prepared = prepared.where_they_are(read_namespaces(project))
        drawn = beside(lambda: _drawn_up(prepared.recipes, sending, project))
        try:
            done = execute(
                prepared.plan,
                replace(prepared.around, sending=sending),
                engine,
                root=project.root,
                logs=project.state / "logs",
                observer=observer,
                clock=clock,
                brake=brake,
            )
        except BuildFailed as failed:
            if failed.attempt:
                note_failed(project.state / LAYERS, failed.attempt.steps, engine.facts.address)
                failed.attempt = _described(failed.attempt, prepared, project, drawn)
            raise
        # read beside the proof, and not at all where that tells nothing new
        records = beside(engine.cache_records) if must_read(engine, project, done.steps) else None
        try:
            prove(prepared.plan, sending, engine, project.state)
            if prepared.shipment:
                around = replace(prepared.around, sending=sending)
                leave(prepared.plan, around, prepared.shipment, project, engine, observer, brake)
        except BuildFailed as failed:
            failed.attempt = _described(attempt(done), prepared, project, drawn)
            raise
        _note(drawn, prepared.plan, done, project, say)
        reclaimed = None
        if any(map(ran_here, done.steps)):
            from kiro_invoke.cache.reclaim import after_build

            read = records.result if records else engine.cache_records
            tried = frozenset(prepared.around.namespaces.values())
            reclaimed = after_build(engine, project, prepared.recipes, done.steps, read, tried=tried)
    if reclaimed and reclaimed.trouble:
        say(f"superseded layers and mounts were not reclaimed: {reclaimed.trouble}")
    if reclaimed and reclaimed.freed:
        say(f"reclaimed {told_bytes(reclaimed.freed)} of superseded layers and mounts: {reclaimed.cause}")
    size = cache_size(engine, project)
    record = _described(attempt(done), prepared, project, drawn)
    return replace(record, cache_bytes=size.bytes, cache_mounts=size.mounts)


def _described(
    record: BuildRecord, prepared: Prepared, project: Project, drawn: Future[Notes]
) -> BuildRecord:
    """The record of what the engine did, with which images that were, and what led to them."""
    changes: tuple[ImageChange, ...] = ()
    with suppress(Exception):  # it was said, or the build failed for another reason
        changes = drawn.result().changes
    return replace(
        record,
        base_images=tuple(BaseRecord(base.ref, base.status, base.holds) for base in prepared.bases),
        images=images(prepared.plan, prepared.recipes, record.steps, project.root),
        changes=changes,
    )


def _drawn_up(recipes: Sequence[Recipe], sending: Sending, project: Project) -> Notes:
    from kiro_invoke.builds.noting import draw_up  # loaded while the engine works

    return draw_up(recipes, sending, project)


def _note(drawn: Future[Notes], plan: BuildPlan, done: Executed, project: Project, say: Say) -> None:
    """What was built is what later changes are compared with. Else it is the note before."""
    from kiro_invoke.builds.costs import note_cost
    from kiro_invoke.builds.noting import keep

    try:
        notes = drawn.result().drawn
        keep(notes)
        if any(map(ran_here, done.steps)) and not any(target.uncached for target in plan.targets):
            note_cost(project.state, notes, done.seconds)
    except Exception as error:  # the images are built: whatever this is, it must not say that they are not
        say(f"what was built could not be noted: {error}")


def placed(trouble: BaseUnavailable, project: Project, recipes: Sequence[Recipe]) -> BaseUnavailable:
    """The same trouble with the line that asks for the image, and the stage that may have been meant."""
    given = dict(project.build_args)
    replaced = dict(project.base_images)
    for recipe in recipes:
        names = [stage.name for stage in recipe.parsed.stages if stage.is_named]
        for source, line in recipe.parsed.base_lines(given):
            if replaced.get(source, source) == trouble.ref:
                meant = get_close_matches(source, names, n=1)
                hint = f"write the stage's name `{meant[0]}` if that is meant, or " if meant else ""
                file = str(recipe.path.relative_to(project.root))
                return BaseUnavailable(
                    trouble.ref, trouble.message, fix=f"{hint}{trouble.fix}", file=file, line=line
                )
    return trouble


def surroundings(project: Project, recipes: Sequence[Recipe], bases: Sequence[Base]) -> Surroundings:
    """Named contexts, arguments and secrets that every target is given."""
    images = {base.ref: base.image for base in bases}
    replaced = dict(project.base_images)
    contexts = {}
    for ref in base_refs(recipes, dict(project.build_args)):
        wanted = replaced.get(ref, ref)
        image = images.get(wanted, wanted)
        if image != ref:
            contexts[ref] = f"docker-image://{image}"
    ca = (Secret(CA_SECRET, f"file:{project.ca_bundle}"),) if project.ca_bundle else ()
    return Surroundings(
        project=project.name,
        checkout=project.checkout,
        namespace=project.checkout,
        namespaces=read_namespaces(project).moved,
        contexts=contexts,
        build_args=dict(project.build_args),
        secrets=(*ca, *project.secrets),
        ssh=project.ssh,
    )


def syntax_images(recipes: Sequence[Recipe]) -> tuple[str, ...]:
    """The frontend images that `# syntax=` lines ask for."""
    found = (recipe.parsed.directives.get("syntax", "") for recipe in recipes)
    return tuple(dict.fromkeys(ref for ref in found if ref))


_FILES = {Profile.DEV: "Dockerfile.fast", Profile.PROD: "Dockerfile"}


def _recipe(service: Service, profile: Profile, project: Project) -> Recipe | None:
    path = service.fast_dockerfile if profile is Profile.DEV else service.dockerfile
    if path is None:
        return None
    place = shown(path, project.root)
    try:
        parsed = parse(path.read_text(encoding="utf-8")).given(dict(project.build_args))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot be read: {error}", file=place, fix="make it a readable text file"
        ) from None
    _check_state_is_ignored(service, path, project)
    if not parsed.stages:
        raise ConfigError("has no FROM instruction", file=place, fix="begin a stage with FROM")
    return Recipe(service, profile, path, parsed)


def _check_state_is_ignored(service: Service, dockerfile: Path, project: Project) -> None:
    """ConfigError where a build's own log would be part of its context: no build would ever be cached."""
    if not project.state.is_relative_to(service.context):
        return
    own = dockerfile.with_name(f"{dockerfile.name}.dockerignore")
    file = own if own.is_file() else service.context / ".dockerignore"
    rows = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    state = project.state.relative_to(service.context).as_posix()
    if not _IGNORING.intersection(row.strip().removeprefix("/").removesuffix("/") for row in rows):
        raise ConfigError(
            f"the build context of {service.name} holds {state}, where builds write their logs",
            file=file.relative_to(project.root).as_posix(),
            fix=f"add a line `{state}`",
        )


#: Rows of a .dockerignore that leave the state folder out.
_IGNORING = frozenset({".kiro", "**/.kiro", ".kiro/**", ".*", "**/.*", "*", "**"})


def _usable(recipe: Recipe, offline_syntax: frozenset[str]) -> Recipe:
    if recipe.parsed.directives.get("syntax") not in offline_syntax:
        return recipe
    text = without_syntax_line(recipe.path.read_text(encoding="utf-8"))
    return Recipe(recipe.service, recipe.profile, recipe.path, recipe.parsed, inline=text)
