"""Make ready what is measured: the warm copy, what each service is compared with, the packages that are added."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kiro_invoke.benchmark.copies import Copy, make_copy, remove_left
from kiro_invoke.benchmark.live import Watched
from kiro_invoke.benchmark.losses import drop_lost
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.benchmark.offer import Offer
from kiro_invoke.benchmark.packages import definition
from kiro_invoke.benchmark.place import Built, EnginePlace
from kiro_invoke.benchmark.runner import CannotMeasure
from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.benchmark.standards import Standard, standards
from kiro_invoke.benchmark.subject import Subject, subject
from kiro_invoke.builds.bake import literal, secret_option
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.cache import warm
from kiro_invoke.changes.context import rules_of, walk
from kiro_invoke.commands import opening
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import process
from kiro_invoke.engine.bases import Base
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.loop.compose import Compose
from kiro_invoke.model.errors import EngineError, KiroError
from kiro_invoke.model.service import Project, Service
from kiro_invoke.version import __version__


@dataclass(frozen=True)
class Ground:
    """What a measurement stands on. `bases` are the person's, ready; `more` contexts with further Dockerfiles."""

    surface: Surface
    project: Project
    engine: Engine
    recipes: tuple[Recipe, ...]
    standards: Mapping[str, Mapping[Variant, Standard]]
    bases: tuple[Base, ...]
    more: tuple[tuple[Path, Path], ...]
    home: Path
    #: `# syntax=` images that cannot be had
    offline_syntax: frozenset[str] = frozenset()

    @property
    def sources(self) -> str:
        """What builds depend on besides the copied files."""
        images = [
            (base.ref, facts.id if (facts := self.engine.image(base.image)) else "") for base in self.bases
        ]
        project = self.project
        given = (
            project.build_args,
            project.base_images,
            project.ssh,
            project.secrets,
            self.engine.facts,
            __version__,
        )
        return hashlib.sha256(repr((images, given)).encode(errors="replace")).hexdigest()


def survey(surface: Surface, project: Project, engine: Engine, home: Path) -> Ground:
    """Read the Dockerfiles of all services, and make their base images available."""
    trusting = replace(project, ca_bundle=opening.ca_bundle(project, surface))
    recipes = warm.read_recipes(project, (Profile.PROD, Profile.DEV))
    compared = {
        service.name: standards(project, service, own_base(project, service, recipes))
        for service in project.services
    }
    refs = dict.fromkeys(warm.wanted_bases(project, recipes))
    replaced, given = dict(project.base_images), dict(project.build_args)
    for found in compared.values():
        for standard in found.values():
            refs |= dict.fromkeys(replaced.get(ref, ref) for ref in standard.bases(given))
    bases = opening.base_resolver(project, engine, surface, pull=False)(tuple(refs), surface.say)
    for line in opening.standin_lines(bases):
        surface.say(line)
    more = tuple(
        (service.context, standard.path or service.context / "standard.Dockerfile")
        for service in project.services
        for standard in compared[service.name].values()
    )
    asked = {standard.syntax for found in compared.values() for standard in found.values()} - {""}
    syntax = opening.unreachable(project, engine, {*asked, *warm.syntax_images(recipes)})
    return Ground(surface, trusting, engine, recipes, compared, bases, more, home, syntax)


def make_place(ground: Ground, built: Built) -> EnginePlace:
    """The place in which is measured, its warm copy brought up to date, and what a killed measurement left removed."""
    for left in ground.home.glob("cold-*"):
        remove_left(ground.engine, ground.project, left)
    copy = _copied(ground, ground.project, ground.project.measured, _salt(ground))
    with suppress(EngineError):
        drop_lost(ground.engine, copy.project)
    counter = Counter(ground.home / "numbers.json")
    subjects = {service.name: _subject(ground, copy, service) for service in copy.project.services}

    def afresh(name: str) -> Copy:
        root = ground.home / name
        try:
            return _copied(ground, copy.project, root, name)
        except BaseException:  # Ctrl-C too leaves nothing behind
            remove_left(ground.engine, copy.project, root)
            raise

    return EnginePlace(
        engine=ground.engine,
        home=ground.home,
        warm=copy,
        subjects=subjects,
        offers=dict(_offers(ground, copy, subjects, counter)),
        live=Watched(ground.engine, lambda service: _composed(ground, service), process.lines),
        afresh=afresh,
        fresh=lambda: time.time_ns() // 1_000_000,
        offline_syntax=ground.offline_syntax,
        built=built,
    )


def _salt(ground: Ground) -> str:
    """What tells the warm copy's base images from those of one that was there before: its layers are not taken over.

    Packages that were added then would be found built, or in a mount.
    """
    file = ground.home / "salt"
    if not file.is_file():
        remove_left(ground.engine, ground.project, ground.project.measured)
        write_whole(file, f"{time.time_ns():x}\n")
    return file.read_text(encoding="utf-8").strip()


def own_base(project: Project, service: Service, recipes: Sequence[Recipe]) -> str:
    """The image from outside that a service is built on: the first that its Dockerfiles name, "" if they name none."""
    own = [recipe for recipe in recipes if recipe.service.name == service.name]
    found = (ref for recipe in own for ref in recipe.parsed.bases(dict(project.build_args)))
    return next(found, "")


def _copied(ground: Ground, source: Project, root: Path, salt: str) -> Copy:
    recipes = warm.read_recipes(source, (Profile.PROD, Profile.DEV))
    there = [(source.root / context.relative_to(ground.project.root), file) for context, file in ground.more]
    return make_copy(source, root, ground.engine, ground.bases, recipes, there, salt)


def _subject(ground: Ground, copy: Copy, service: Service) -> Subject:
    own = [recipe for recipe in ground.recipes if recipe.service.name == service.name]
    names = list(_names(service))
    return subject(
        service,
        own,
        ground.standards[service.name],
        own_base(copy.project, service, own),
        names,
        lambda path: (service.context / path).read_text(encoding="utf-8", errors="replace"),
    )


def _names(service: Service) -> Iterator[str]:
    """The files of a copied context that are sent for its image."""
    dockerfile = service.fast_dockerfile or service.dockerfile
    assert dockerfile is not None
    rules = rules_of(service.context, dockerfile)
    for here in walk(service.context, rules, skip=service.context / ".kiro"):
        yield from (f"{here.prefix}{name}" for name, _ in here.entries)


def _offers(
    ground: Ground, copy: Copy, subjects: Mapping[str, Subject], counter: Counter
) -> Sequence[tuple[str, Offer]]:
    return [
        (
            name,
            Offer(
                service=name,
                context=copy.service(name).context,
                base=one.base,
                adds=one.adds,
                place=ground.home / "packages",
                counter=counter,
                make=_maker(ground, copy, name),
                read=copy.tree.read,
            ),
        )
        for name, one in subjects.items()
        if one.adds is not None and one.base
    ]


def _maker(ground: Ground, copy: Copy, service: str) -> Callable[[str, Path], None]:
    """Has a Dockerfile over a service's context built, and its result written to a folder."""

    def make(dockerfile: str, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        around = copy.around
        text = definition(
            literal(dockerfile),
            literal(str(copy.service(service).context)),
            [literal(secret_option(secret)) for secret in around.secrets],
            {ref: literal(image) for ref, image in around.contexts.items()},
            literal(str(out)),
        )
        said: list[str] = []
        done = ground.engine.bake(text, env={"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}, on_line=said.append)
        if not done.ok:
            words = next((line for line in said if line.startswith("ERROR")), "its package manager fails")
            raise CannotMeasure(f"no package can be added: {' '.join(words.split())[:300]}")

    return make


def _composed(ground: Ground, service: str) -> Mapping[str, Any]:
    """A service as the person's compose file has it; nothing where there is none."""
    with suppress(KiroError):
        found = (Compose(ground.engine, ground.project.root, {}).config().get("services") or {}).get(service)
        return found if isinstance(found, dict) else {}
    return {}
