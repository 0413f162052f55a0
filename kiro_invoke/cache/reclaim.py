"""Take back, after a build, the room that superseded images, layers and mounts of this checkout hold."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.clean import reads_context
from kiro_invoke.builds.dockerfile import Dockerfile, Stage, expand
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.made import made_by, ran_here, why_due
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.cache.superseded import Owner, Superseded, superseded_images, superseded_records
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import CacheRecord, Engine
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project

_NOTHING = Superseded((), ())

#: In the state folder: which layers this checkout's builds made, and how much since the last reclaiming.
LAYERS = "layers.json"
_VARIABLE = re.compile(r"\$\{?(\w+)")


@dataclass(frozen=True)
class Made:
    """The layers that builds of this checkout made, and the bytes of those since the last reclaiming.

    `weight` is what the cache held on `engine` when it was last read, in bytes, less what images hold too.
    """

    layers: frozenset[str] = frozenset()
    gathered: int = 0
    weight: int = 0
    engine: str = ""


@dataclass(frozen=True)
class Reclaimed:
    """What was removed and why. `freed` is in bytes, by a second reading of the engine.

    `trouble` is what the engine said where it did not let us finish: a build is not worse for it.
    """

    cause: str
    images: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    freed: int = 0
    plan: Superseded = _NOTHING
    trouble: str = ""


def after_build(
    engine: Engine,
    project: Project,
    recipes: Sequence[Recipe],
    steps: Sequence[Step],
    records: Callable[[], Sequence[CacheRecord]],
    *,
    clock: Callable[[], float] = time.time,
) -> Reclaimed | None:
    """Note what a build made, and reclaim where it is time to; None where it is not. `records` reads the cache's.

    `recipes` are all that the build was planned from. Costs nothing after a build in which no step ran, else one
    reading of the cache's records; trouble with the engine is told in the answer, never raised.
    """
    if not any(map(ran_here, steps)):
        return None
    cause = ""
    try:
        made = noted(engine, project.state / LAYERS, records(), steps)
        cause = why_due((recipe.parsed for recipe in recipes), steps, made.gathered)
        return reclaim(engine, project, recipes, cause=cause, clock=clock) if cause else None
    except EngineError as trouble:
        return Reclaimed(cause, trouble=trouble.message)


def reclaim(
    engine: Engine,
    project: Project,
    recipes: Sequence[Recipe],
    *,
    cause: str = "asked for",
    clock: Callable[[], float] = time.time,
) -> Reclaimed:
    """Remove what this checkout superseded, images first: what they hold, the cache cannot free."""
    whose = owner(project, recipes)
    before = engine.cache_records()
    known = engine.images_labelled(f"{LABEL_CHECKOUT}={whose.checkout}")
    images = [image.id for image in superseded_images(known, whose).remove if engine.remove_image(image.id)]
    records = engine.cache_records() if images else before
    file = project.state / LAYERS
    plan = superseded_records(records, whose, made=_read(file).layers, now=clock())
    gone = _prune(engine, [item.id for item in plan.remove])
    records = engine.cache_records() if gone else records
    after = {record.id for record in records}
    freed = {record.id: record.size for record in before if record.id in gone and record.id not in after}
    _write(file, Made(_read(file).layers & after, 0, _weight(records), engine.facts.address))
    return Reclaimed(cause, tuple(images), tuple(freed), sum(freed.values()), plan)


def drop_namespace(engine: Engine, namespace: str) -> None:
    """Remove the cache mounts of a clean build, which nobody uses again; what cannot be removed now, later is."""
    with suppress(EngineError):
        known = [
            (record.id, mount_id(record.description))
            for record in engine.cache_records()
            if record.kind == MOUNT
        ]
        _prune(engine, [id for id, mount in known if mount and mount[0] == namespace])


def owner(project: Project, recipes: Iterable[Recipe]) -> Owner:
    """Whose things may go: this checkout's, of the services and mounts that these recipes name."""
    of_ours = [recipe for recipe in recipes if recipe.service in project.services]
    mounts: dict[str, bool] = {}
    for recipe in of_ours:
        for id, of_project in _mounts(recipe.parsed):
            mounts[id] = mounts.get(id, True) and of_project
    services = frozenset(recipe.service.name for recipe in of_ours)
    return Owner(project.name, project.checkout, services, mounts, frozenset(read_proven(project.state).ids))


def cache_bytes(engine: Engine, project: Project) -> int:
    """What the engine's cache held when a build of this checkout last made something; read now where none did.

    Reading takes an engine with thousands of records longer than a build in which nothing changed.
    """
    file = project.state / LAYERS
    made = _read(file)
    if made.engine != engine.facts.address:
        made = replace(made, weight=_weight(engine.cache_records()), engine=engine.facts.address)
        _write(file, made)
    return made.weight


def noted(engine: Engine, file: Path, records: Sequence[CacheRecord], steps: Sequence[Step]) -> Made:
    """Remember which of the records a build's steps made; all that is remembered now."""
    known = _read(file)
    fresh = made_by(records, steps) - known.layers
    bytes = sum(record.size for record in records if record.id in fresh)
    here = {record.id for record in records}
    layers = (known.layers & here) | fresh
    made = Made(layers, known.gathered + bytes, _weight(records), engine.facts.address)
    _write(file, made)
    return made


def _prune(engine: Engine, ids: Sequence[str]) -> Set[str]:
    """Those of `ids` that could be removed: again and again, until nothing changes."""
    gone: set[str] = set()
    while left := [id for id in ids if id not in gone]:
        now = engine.prune(left) & {*left}
        if not now:
            break
        gone |= now
    return gone


def _mounts(dockerfile: Dockerfile) -> Iterable[tuple[str, bool]]:
    """The ids of a Dockerfile's cache mounts, and whether each is seeded with the project's own files."""
    values = {name: value for name, value in dockerfile.arguments.items() if value is not None}
    for stage in dockerfile.stages:
        for mount in (mount for one in stage.instructions for mount in one.mounts):
            id = mount.get("id") or mount.get("target") or mount.get("dst") or mount.get("destination") or ""
            if mount.get("type") == "cache" and id and {*_VARIABLE.findall(id)} <= values.keys():
                yield expand(id, values), _of_project(dockerfile, mount.get("from", ""))


def _of_project(dockerfile: Dockerfile, seed: str) -> bool:
    """Whether what a stage holds can depend on the build context."""
    return any(_reads(dockerfile.stage(name)) for name in dockerfile.reachable(seed))


def _reads(stage: Stage | None) -> bool:
    return stage is not None and any(map(reads_context, stage.instructions))


def _read(file: Path) -> Made:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        raw = json.loads(file.read_text(encoding="utf-8"))
        weight, engine = int(raw.get("weight", 0)), str(raw.get("engine", ""))
        return Made(frozenset(map(str, raw["layers"])), int(raw["gathered"]), weight, engine)
    return Made()


def _write(file: Path, made: Made) -> None:
    """Remember; where that is not possible, later builds reclaim less."""
    with suppress(OSError):
        write_whole(file, json.dumps({**asdict(made), "layers": sorted(made.layers)}))


def _weight(records: Iterable[CacheRecord]) -> int:
    return sum(record.size for record in records if not record.shared)
