"""The command `tilt-config`: what the Tilt extension has to know of a repository."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.bake import NAMESPACE, secret_option
from kiro_invoke.builds.base_parts import replacing
from kiro_invoke.builds.image_config import image_config
from kiro_invoke.builds.planner import Profile, shown
from kiro_invoke.cache.namespaces import read_namespaces
from kiro_invoke.cache.warm import surroundings
from kiro_invoke.changes.dependencies import PathRules
from kiro_invoke.commands import opening
from kiro_invoke.commands.looking import Looked, look
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.ecosystems.registry import ECOSYSTEMS
from kiro_invoke.loop.tilt import NotLive, TiltLive, deciding, falling_back, sharing, tilt_live
from kiro_invoke.model.live import NOTHING_SAID
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean


@dataclass(frozen=True)
class TiltService:
    """A service as Tilt is told of it. Paths are absolute.

    `watched` are files that decide what is told here. `unwatched` are patterns of paths in the context of which no
    change is a reason to build; `unheeded` is the service that needs them all the same. `kept` are base images of which
    Tilt cannot be told what stands in for them. Options are written as docker_build takes them.
    """

    looked: Looked
    secret: tuple[str, ...]
    ssh: tuple[str, ...]
    build_args: dict[str, str]
    watched: tuple[str, ...]
    unwatched: tuple[str, ...]
    live: TiltLive | NotLive
    unheeded: str = ""
    kept: tuple[str, ...] = ()

    @property
    def context(self) -> Path:
        return self.looked.recipe.service.context

    @property
    def fields(self) -> dict[str, Any]:
        service, live = self.looked.recipe.service, self.live
        fields: dict[str, Any] = {
            "name": service.name,
            "image": service.image,
            "context": str(self.context),
            "dockerfile": str(self.looked.recipe.path),
            "secret": list(self.secret),
            "ssh": list(self.ssh),
            "build_args": self.build_args,
            "watched": list(self.watched),
            "unwatched": list(self.unwatched),
        }
        if isinstance(live, NotLive):
            return {**fields, "live": None, "not_live": live.why}
        return {
            **fields,
            "live": {
                "fall_back_on": [str(self.context / path) for path in live.fall_back_on],
                "sync": [{"from": str(self.context / rule.folder), "to": rule.place} for rule in live.sync],
                "run": list(live.run),
                "restart_container": live.restart_container,
                "env": dict(live.env),
            },
        }


def tilt_config(services: Sequence[str]) -> Callable[[Surface], Answer]:
    """Services with their Dockerfiles, what builds are given, and live updates in Tilt's words. Needs no engine."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ, services=services)
        told = tuple(_services(project, surface))
        notes = tuple(_notes(project, told))
        fields = {
            "root": str(project.root),
            "project": project.name,
            "watched": [str(project.root / "kiro.yaml")],
            "notes": list(notes),
            "services": [one.fields for one in told],
        }
        return Answer(fields, lambda s: _show(s, project, told, notes))

    return body


def _services(project: Project, surface: Surface) -> Iterator[TiltService]:
    trusting = replace(project, ca_bundle=opening.ca_bundle(project, surface))
    namespaces = read_namespaces(project)
    everything = config.load(surface.folder, surface.environ).services
    for one in look(project, Profile.DEV, time.time_ns):
        service = one.recipe.service
        around = surroundings(trusting, (one.recipe,), ())
        known = ECOSYSTEMS.get(service.ecosystem)
        roots = known.roots if known else ()
        given = dict(project.build_args)
        bases, kept = replacing(one.recipe.parsed, given, dict(project.base_images))
        inputs = falling_back(one.side.contents, one.side.fingerprint, one.inputs, roots)
        unheeded = sharing(service, everything) if service.ignore else ""
        yield TiltService(
            one,
            tuple(secret_option(secret) for secret in around.secrets),
            project.ssh,
            given | bases | {NAMESPACE: namespaces.of(service.name)},
            tuple(str(service.context / path) for path in deciding(one.side.fingerprint, one.inputs, roots)),
            () if unheeded else tuple(_unwatched(one)),
            _live(one, inputs),
            unheeded,
            kept,
        )


def _live(one: Looked, inputs: Iterable[str]) -> TiltLive | NotLive:
    service = one.recipe.service
    if one.recipe.profile is not Profile.DEV:
        return NotLive("it has no Dockerfile.fast")
    known = ECOSYSTEMS.get(service.ecosystem)
    if known is None and not service.dependency_inputs:
        return NotLive(one.side.fingerprint.doubt)
    image = image_config(one.recipe.parsed)
    live = service.live.over(known.live if known else NOTHING_SAID, image.labels or {})
    return tilt_live(live, image, inputs)


def _unwatched(one: Looked) -> Iterator[str]:
    """What kiro.yaml ignores, but for what dependencies are made from: that counts all the same."""
    rules = one.recipe.service.ignore
    yield from (rule.pattern for rule in rules)
    ignoring = PathRules(rules)
    made_from = sorted({part.file for part in one.side.fingerprint.parts})
    yield from (f"!{path}" for path in made_from if ignoring.matching(path))


def _notes(project: Project, told: Iterable[TiltService]) -> Iterator[str]:
    """What Tilt cannot be told."""
    for ref in dict.fromkeys(ref for one in told for ref in one.kept):
        yield (
            f"base_images of kiro.yaml: Tilt takes {ref} itself:"
            " write it as an argument, ARG BASE=… and FROM $BASE, and it takes the other"
        )
    empty = [name for name, value in project.build_args if not value]
    if empty:
        yield f"build_args of kiro.yaml: Tilt takes {', '.join(empty)} from its environment, as they are empty"
    for one in told:
        if one.unheeded:
            yield f"ignore of {one.looked.name} is not heeded: {one.unheeded} is built from the same files"
        if isinstance(one.live, NotLive):
            yield f"{one.looked.name}: every change takes the image: {one.live.why}"


def _show(surface: Surface, project: Project, told: Iterable[TiltService], notes: Iterable[str]) -> None:
    for one in told:
        dockerfile = shown(one.looked.recipe.path, project.root)
        surface.out.line(clean(f"{one.looked.name}: {one.looked.recipe.service.image} from {dockerfile}"))
        if isinstance(one.live, TiltLive):
            for rule in one.live.sync:
                surface.out.line(clean(f"  {rule.folder or '.'} is synced to {rule.place}"))
            surface.out.line(clean(f"  the image is built for {', '.join(one.live.fall_back_on)}"))
    for note in notes:
        surface.say(note)
