"""Take builds that were made outside (plain docker, Compose, Tilt) from the engine's own history into the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.executor import own_steps
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.progress import Progress
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.commands.recording import Say, counts, verdict
from kiro_invoke.engine.files import make_state_folder, write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.metrics.entry import Entry, ImageEntry, as_kept
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.errors import KiroError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean
from kiro_invoke.screen import quiet

#: What such builds are told as.
COMMAND, TILT = "docker", "tilt"
#: Seconds that looking through the history may take; what is left is looked at the next time.
BUDGET_SECONDS = 4.0
#: What a question is given at least, and the status of one that took too long.
_LEAST, _TIMED_OUT = 0.5, 124
#: In the state folder: builds that are none of this project's, so that each is asked for once.
OTHERS = "outside.json"
_KEPT = 5000
#: The label that Tilt gives to all that it builds. It speaks to the engine itself, so no path of its builds is known.
_TILT = ("builtby", "tilt")
#: What can be wrong with an answer whose form is another version's.
_ODD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Past:
    """A build of the engine's history. Paths are absolute; `context` is None where the engine does not know it.

    `began` is in seconds since the epoch; `error` is "" of one that succeeded.
    """

    ref: str
    began: float
    seconds: float
    error: str = ""
    context: Path | None = None
    dockerfile: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""

    @property
    def is_tilts(self) -> bool:
        return self.labels.get(_TILT[0]) == _TILT[1]


def import_outside(
    engine: Engine,
    project: Project,
    store: Store,
    say: Say,
    *,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], float] = time.time,
    here: Callable[[], Path] = Path.cwd,
) -> int:
    """Import the builds of this project that kiro did not make, newest first; how many there were.

    Nothing happens where buildx has no history. A store that cannot be written is said, and is no error.
    """
    keep = project.recording.keep_seconds
    end, oldest = clock() + BUDGET_SECONDS, 0.0 if keep is None else now() - keep
    if not project.recording.record:
        return 0
    listed = engine.build_history("ls", "--format", "json", "--no-trunc", seconds=BUDGET_SECONDS)
    found = listed_refs(listed.stdout) if listed.ok else ()
    if not found:
        return 0
    file = project.state / OTHERS
    try:
        make_state_folder(project.state)
        others = _read_others(file)
        known = store.known_refs() | set(others)
        entries: list[Entry] = []
        recipes = tuple(_recipes(project))
        for ref in (ref for ref in found if ref not in known):
            left = end - clock()
            if left <= 0:
                break
            try:
                entry = _imported(engine, project, recipes, ref, lambda: end - clock(), here())
            except _Silent:
                continue  # it is asked for again the next time
            if entry is None or entry.began < oldest:  # which would be forgotten at once, and imported again
                others.append(ref)
            else:
                entries.append(entry)
        if entries:
            store.add(entries, keep_seconds=keep)
        with suppress(OSError):
            write_whole(file, json.dumps({"refs": others[-_KEPT:]}))
    except KiroError as error:
        say(f"builds made outside were not imported: {error}")
        return 0
    return len(entries)


def listed_refs(text: str) -> tuple[str, ...]:
    """The finished builds that `history ls --format json` tells, newest first: rows, or one list of them."""
    found: dict[str, str] = {}
    for row in _rows(text):
        with suppress(*_ODD):
            ref = str(row.get("ref") or row["ID"]).rpartition("/")[2]  # BUILDER/NODE/REF
            if str(row.get("status") or row["Status"]).casefold() != "running":
                found[ref] = str(row.get("created_at") or row.get("CreatedAt") or "")
    return tuple(sorted(found, key=lambda ref: found[ref], reverse=True))


def past_build(ref: str, text: str, here: Path) -> Past | None:
    """What `history inspect --format json` tells of a build; None where it was cancelled or is not understood.

    buildx tells paths from the folder that it is asked in, `here`.
    """
    with suppress(*_ODD):
        raw = json.loads(text)
        began = datetime.fromisoformat(raw["StartedAt"]).timestamp()
        ended = datetime.fromisoformat(raw["CompletedAt"]).timestamp()
        status, context = str(raw.get("Status", "")), str(raw.get("Context") or "")
        if status not in {"completed", "error"}:
            return None
        config = raw.get("Config") or {}
        error = raw.get("Error") or {}
        return Past(
            ref=ref,
            began=began,
            seconds=round(max(ended - began, 0.0), 3),
            error=str(error.get("Message") or "failed") if status == "error" else "",
            context=_local(context, here),
            dockerfile=str(raw.get("Dockerfile") or ""),
            labels=_pairs(raw.get("Labels")),
            namespace=str(
                config.get("CacheMountNS") or _pairs(raw.get("BuildArgs")).get("BUILDKIT_CACHE_MOUNT_NS", "")
            ),
        )
    return None


def recipe_of(
    past: Past, steps: Sequence[Step], recipes: Sequence[Recipe], project: Project
) -> Recipe | None:
    """Which Dockerfile of this project a build was of; None for one of another, and for kiro's own.

    Where no path is known, as of Tilt's, by its steps: all must be that Dockerfile's.
    """
    if LABEL_CHECKOUT in past.labels or past.namespace.startswith(project.checkout):
        return None
    if past.context is None:
        fitting = (recipe for recipe in recipes if past.is_tilts and _fits(recipe, steps))
        return next(fitting, None)
    if past.context.is_relative_to(project.state):
        return None
    dockerfile = past.context / (past.dockerfile or "Dockerfile")
    return next((recipe for recipe in recipes if recipe.path == dockerfile), None)


class _Silent(Exception):
    """The engine did not answer in time."""


def _imported(
    engine: Engine,
    project: Project,
    recipes: Sequence[Recipe],
    ref: str,
    left: Callable[[], float],
    here: Path,
) -> Entry | None:
    told = engine.build_history("inspect", "--format", "json", ref, seconds=max(left(), _LEAST))
    if not told.ok:
        raise _Silent
    past = past_build(ref, told.stdout, here)
    if past is None or (recipe_of(past, (), recipes, project) is None and not past.is_tilts):
        return None
    log = engine.build_history("logs", "--progress", "rawjson", ref, seconds=max(left(), _LEAST))
    if log.returncode == _TIMED_OUT:
        raise _Silent
    return _entry(past, log.stderr or log.stdout, recipes, project, engine.facts.address)


def _entry(past: Past, log: str, recipes: Sequence[Recipe], project: Project, engine: str) -> Entry | None:
    progress = Progress(quiet, {"": ""})
    with suppress(*_ODD):  # a build without its log is one all the same
        for line in log.splitlines():
            progress.feed(line)
    recipe = recipe_of(past, progress.steps, recipes, project)
    if recipe is None:
        return None
    service = recipe.service
    steps = tuple(
        Step(service.name, one.stage, one.text, one.cached, one.seconds, one.started, one.completed)
        for one in progress.steps
    )
    cached, ran = counts(steps)
    image = ImageEntry(
        service=service.name,
        profile=recipe.profile,
        verdict=verdict(steps, service.ecosystem),
        seconds=past.seconds,
        cached=cached,
        ran=ran,
    )
    return Entry(
        began=past.began,
        seconds=past.seconds,
        command=TILT if past.is_tilts else COMMAND,
        ok=not past.error,
        message=clean(" ".join(past.error.split())),
        engine=engine,
        context_bytes=progress.context_bytes,
        ref=past.ref,
        images=(image,),
        steps=tuple(map(as_kept, steps)),
    )


def _fits(recipe: Recipe, steps: Sequence[Step]) -> bool:
    """Whether all steps of a build are a Dockerfile's."""
    own = [
        Step(recipe.service.name, step.stage, step.text, step.cached)
        for step in steps
        if not step.text.startswith("FROM ")
    ]
    return bool(own) and len(list(own_steps(recipe, own, alone=False))) == len(own)


def _recipes(project: Project) -> Iterator[Recipe]:
    """The Dockerfiles as they are now: those of a service that cannot be read are no reason to know none."""
    for service in project.services:
        with suppress(KiroError):
            only = Project(project.root, project.name, (service,), build_args=project.build_args)
            yield from read_recipes(only, (Profile.DEV, Profile.PROD))


def _local(context: str, here: Path) -> Path | None:
    """A context's folder; None where it is none of this machine's, or not known."""
    if not context or context == "-" or "://" in context or context.startswith("git@"):
        return None
    return Path(here, context).resolve()


def _rows(text: str) -> Iterator[Mapping[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = text.find("\n", at) + 1
            if at == 0:
                return
            continue
        yield from (row for row in (value if isinstance(value, list) else [value]) if isinstance(row, dict))
        while at < len(text) and text[at].isspace():
            at += 1


def _pairs(raw: object) -> dict[str, str]:
    rows = raw if isinstance(raw, list) else []
    return {str(row.get("Name")): str(row.get("Value", "")) for row in rows if isinstance(row, dict)}


def _read_others(file: Path) -> list[str]:
    with suppress(OSError, *_ODD):
        return [str(ref) for ref in json.loads(file.read_text(encoding="utf-8"))["refs"]]
    return []
