"""What builds take from a shared cache and put there, and where they are made: the decisions of a team's settings."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kiro_invoke.builds.cache_patience import CacheSilent
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.builds.shared_cache import branches, places, read_only, refs, without
from kiro_invoke.cache import warm
from kiro_invoke.commands.outgoing import refuse_what_stands_on_standins
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine import process
from kiro_invoke.engine.bases import registry_of
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine, RegistryRefused, RegistrySilent
from kiro_invoke.model.errors import BuildFailed, EngineError, UsageError
from kiro_invoke.model.record import BuildRecord
from kiro_invoke.model.service import Project

_TAKEN = "shared.json"
#: Where images of a builder arrive.
_ARRIVING = "arriving"
#: Seconds within which a builder answers before a build, where it is there at all.
_ANSWER_SECONDS = 10.0
#: What BuildKit says of a base image that it cannot have.
_NO_BASE = "failed to resolve source metadata for"
_OWN_DRIVER = re.compile(r"^Driver:\s*docker$", re.MULTILINE)
_LOCKFILES = ("Cargo.lock", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock")


def built(
    surface: Surface,
    project: Project,
    engine: Engine,
    far: Callable[[Engine], BuildRecord],
    here: Callable[[str], BuildRecord],
) -> BuildRecord:
    """Build with the builder that is named; once with the engine's own where that is lost, never for a failed step."""
    builder = project.builder
    assert builder is not None
    try:
        if builder.driver and engine.make_builder(builder):
            surface.say(f"made the builder {builder.name} ({builder.driver})")
        why = engine.builder_trouble(builder.name, min(_ANSWER_SECONDS, builder.patience))
        if not why:
            return far(engine.on_builder(builder.name, builder.patience, project.state / _ARRIVING))
    except BuildFailed as failed:
        failed.fix = _fix_of(failed, builder.name)
        raise
    except EngineError as trouble:
        why = trouble.message
    why = f"the builder {builder.name} cannot be used: {why}"
    surface.say(f"{why}; built on the engine here instead")
    return here(why)


@dataclass(frozen=True)
class Sharing:
    """A build with what it reads of the shared cache and fills; `silent`: registries that are left out, and why."""

    prepared: warm.Prepared
    silent: tuple[str, ...] = ()


def with_cache(
    surface: Surface,
    project: Project,
    engine: Engine,
    prepared: warm.Prepared,
    *,
    push: bool,
    always: bool = False,
) -> Sharing:
    """The same build, with what it reads of the shared cache, and fills where it is to and may.

    It is read where others may have built what was not built here, and `always` if so asked: each place costs a round
    trip, which an edit that nobody else has yet need not pay.
    """
    shared = project.shared
    if push and (shared is None or shared.target is None):
        raise UsageError("--push: kiro.yaml names no shared cache to fill", fix="add `cache:` with `to:`")
    if shared is None:
        return Sharing(prepared)
    if push and (why := read_only(surface.environ)):
        surface.say(f"nothing is pushed: {why}")
        push = False
    if push:
        _check_pushable(project, engine, prepared)
    known = _taken(project)
    wanted = {
        (recipe.service.name, recipe.path)
        for recipe in prepared.recipes
        if push or always or known.get(_key(engine, recipe)) != _inputs(recipe)
    }
    if not wanted:
        return Sharing(prepared)
    on = branches(surface.environ, shared, *_git_branches(project.root))
    found = places(shared, prepared.plan, project.name, on, push=push)
    caching = {
        target.name: found[target.name]
        for target in prepared.plan.targets
        if (target.service, target.dockerfile) in wanted
    }
    silent = _silent(engine, refs(caching.values()), shared.patience)
    caching = {name: without(one, frozenset(silent)) for name, one in caching.items()}
    around = replace(prepared.around, caching=caching, cache_patience=shared.patience)
    return Sharing(
        replace(prepared, around=around), tuple(f"{registry}: {why}" for registry, why in silent.items())
    )


def _silent(engine: Engine, asked: Iterable[str], patience: float) -> Mapping[str, str]:
    """The registries that do not answer this engine, and why.

    BuildKit waits for one without an end, and so does the next build of the same steps, whatever that reads. What a
    builder reaches is not for us to see: for that one the patience is in the build.
    """
    if engine.facts.builder:
        return {}
    found: dict[str, str] = {}
    for registry, ref in {registry_of(ref): ref for ref in asked}.items():
        limit = min(patience, _ANSWER_SECONDS)
        try:
            engine.probe(ref, limit)
        except RegistrySilent as silence:
            told = str(silence)
            found[registry] = f"no answer within {limit:.0f} s" if "timed out" in told else told
        except RegistryRefused:
            pass  # it answers: what it has is the build's to see
    return found


def note(project: Project, engine: Engine, prepared: warm.Prepared, record: BuildRecord) -> None:
    """Remember which Dockerfiles were built here from end to end: those need not read the cache for each edit.

    What BuildKit has from elsewhere it leaves there until a step stands on it. So of a step that was cached it is not
    known that it is here: without the cache, the next edit might run it.
    """
    known = before = _taken(project)
    for recipe in prepared.recipes:
        targets = [one.name for one in prepared.plan.targets if one.dockerfile == recipe.path]
        if not any(name in prepared.around.caching for name in targets):
            continue  # it was not asked
        own = [step for step in record.steps if step.service == recipe.service.name]
        ran = bool(own) and not any(step.cached for step in own)
        known = {**known, _key(engine, recipe): _inputs(recipe) if ran else ""}
    if known != before:
        with suppress(OSError):  # a build more asks the cache then
            write_whole(project.state / _TAKEN, json.dumps(known, indent=1) + "\n")


def without_answer(record: BuildRecord, silence: CacheSilent, *, push: bool) -> BuildRecord:
    """The record of a build that was done without the shared cache, for that did not answer the one before."""
    return replace(
        record,
        unread=(str(silence),) if not silence.writing else (),
        unpushed=(str(silence),) if push else (),
    )


def lines(record: BuildRecord) -> Iterator[str]:
    """What a person must know of the shared cache."""
    for one in record.unread:
        yield f"the shared cache was not read: {one}"
    for one in record.unpushed:
        yield f"the shared cache was not filled: {one}"


def _fix_of(failed: BuildFailed, builder: str) -> str | None:
    """What to do; where the builder cannot have a base image, for those of this machine it does not see, that too."""
    if failed.line is None or not any(_NO_BASE in line for line in (failed.message, *failed.tail)):
        return failed.fix  # what no Dockerfile asks for is not a base image
    return (
        f"name an image that the builder {builder} reaches under base_images: in kiro.yaml, or {failed.fix}"
    )


def _check_pushable(project: Project, engine: Engine, prepared: warm.Prepared) -> None:
    refuse_what_stands_on_standins(project, engine, prepared, done="pushed")
    if not engine.facts.builder and _OWN_DRIVER.search(engine.builder()):
        raise UsageError(
            "--push: the engine's own builder (driver docker) cannot fill a shared cache",
            fix="name a builder of another driver: `builder:` in kiro.yaml, or KIRO_BUILDER",
        )


def _key(engine: Engine, recipe: Recipe) -> str:
    return f"{engine.facts.address} {recipe.service.name} {recipe.path.name}"


def _inputs(recipe: Recipe) -> str:
    """A hash of what is changed rarely, and by others as well: the Dockerfile and what is locked."""
    found = hashlib.sha256()
    for file in (recipe.path, *(recipe.service.context / name for name in _LOCKFILES)):
        with suppress(OSError):
            found.update(b"%s\0%d\0" % (os.fsencode(file.name), file.stat().st_size) + file.read_bytes())
    return found.hexdigest()


def _taken(project: Project) -> dict[str, str]:
    with suppress(OSError, ValueError):
        known = json.loads((project.state / _TAKEN).read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return {str(key): str(value) for key, value in known.items()}
    return {}


def _git_branches(root: Path) -> tuple[str, str]:
    """The branch that is checked out, and the remote's default one; "" for what git does not know."""
    git = ["git", "-C", str(root)]
    current = process.run([*git, "symbolic-ref", "--quiet", "--short", "HEAD"], timeout=_ANSWER_SECONDS)
    default = process.run(
        [*git, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"], timeout=_ANSWER_SECONDS
    )
    return current.stdout.strip(), default.stdout.strip().removeprefix("origin/")
