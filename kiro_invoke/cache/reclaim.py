"""Take back, after a build, the room that superseded images, layers and mounts of this checkout hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace

from kiro_invoke.builds.bake import LABEL_CHECKOUT
from kiro_invoke.builds.clean import reads_context
from kiro_invoke.builds.dockerfile import Dockerfile, Stage
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.made import ran_here, why_due
from kiro_invoke.cache.namespaces import Namespaces, is_own, read_namespaces
from kiro_invoke.cache.places import cache_mounts
from kiro_invoke.cache.proving import read_proven
from kiro_invoke.cache.records import MOUNT, mount_id
from kiro_invoke.cache.remembered import LAYERS, mounts_weight, read_made, weight, write_made
from kiro_invoke.cache.superseded import (
    CLEAN_SECONDS,
    Owner,
    Superseded,
    superseded_images,
    superseded_records,
)
from kiro_invoke.cache.whose import other_checkouts
from kiro_invoke.engine.protocol import CacheRecord, Engine
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project

_NOTHING = Superseded((), ())
#: Pauses before each look for mounts to drop, in seconds: an engine may hold those of a step that just ended.
_LETTING_GO = (0.0, 0.3, 1.0)


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
    tried: Set[str] = frozenset(),
    clock: Callable[[], float] = time.time,
) -> Reclaimed | None:
    """Note what a build made, and reclaim where it is time to; None where it is not. `records` reads the cache's.

    `recipes` are all that the build was planned from, `tried` as in `owner`. Costs nothing after a build in which no
    step ran, and next to nothing where it is known what such steps leave; trouble with the engine is told in the
    answer, never raised.
    """
    if not any(map(ran_here, steps)):
        return None
    if engine.facts.builder:  # of its cache nothing is noted, or taken back: others use it
        _remove_superseded_images(engine, project, recipes)
        return None
    file, address = project.state / LAYERS, engine.facts.address
    cause = ""
    try:
        found = None
        made = read_made(file).reckon(steps, address)
        if made is None:
            found = records()
            made = read_made(file).read(found, address, steps)
        write_made(file, made)
        gathered = made.gathered + made.reckoned_bytes
        cause = why_due((recipe.parsed for recipe in recipes), steps, gathered)
        if not cause:
            return None
        return reclaim(engine, project, recipes, found, cause=cause, tried=tried, clock=clock)
    except EngineError as trouble:
        return Reclaimed(cause, trouble=trouble.message)


def reclaim(
    engine: Engine,
    project: Project,
    recipes: Sequence[Recipe],
    records: Sequence[CacheRecord] | None = None,
    *,
    cause: str = "asked for",
    tried: Set[str] = frozenset(),
    clock: Callable[[], float] = time.time,
) -> Reclaimed:
    """Remove what this checkout superseded, images first: what they hold, the cache cannot free.

    `records` are the cache's, where they were read just now.
    """
    whose = owner(project, recipes, tried)
    known = engine.images_labelled(LABEL_CHECKOUT)
    images = [image.id for image in superseded_images(known, whose).remove if engine.remove_image(image.id)]
    before = engine.cache_records() if images or records is None else records
    file, address = project.state / LAYERS, engine.facts.address
    made = read_made(file).read(before, address)
    write_made(file, made)
    others = other_checkouts(before, known, whose)
    plan = superseded_records(before, whose, made=made.layers, now=clock(), others=others)
    gone = prune_leaves(engine, [item.id for item in plan.remove])
    left = engine.cache_records() if gone else before
    after = {record.id for record in left}
    freed = {record.id: record.size for record in before if record.id in gone and record.id not in after}
    made = read_made(file)  # another service's build may have noted something meanwhile
    write_made(
        file,
        replace(
            made,
            layers=made.layers & after,
            gathered=0,
            weight=weight(left),
            mounts=mounts_weight(left),
        ),
    )
    return Reclaimed(cause, tuple(images), tuple(freed), sum(freed.values()), plan)


def _remove_superseded_images(engine: Engine, project: Project, recipes: Sequence[Recipe]) -> None:
    """Remove the images that builds of this checkout superseded; what cannot be removed now, later is."""
    with suppress(EngineError):
        known = engine.images_labelled(LABEL_CHECKOUT)
        for image in superseded_images(known, owner(project, recipes)).remove:
            engine.remove_image(image.id)


def drop_namespace(engine: Engine, namespace: str) -> None:
    """Remove the cache mounts of a clean build, which nobody uses again; what cannot be removed now, later is."""
    _drop(engine, lambda mount: mount[0] == namespace)


def drop_mounts(engine: Engine, mounts: Set[tuple[str, str]]) -> int:
    """Remove cache mounts by namespace and id, and tell their bytes; what cannot be removed now, later is."""
    return _drop(engine, lambda mount: mount in mounts)


def _drop(
    engine: Engine, goes: Callable[[tuple[str, str]], bool], *, sleep: Callable[[float], None] = time.sleep
) -> int:
    freed = 0
    with suppress(EngineError):
        for pause in _LETTING_GO:
            sleep(pause)
            known = [
                (record, mount_id(record.description))
                for record in engine.cache_records()
                if record.kind == MOUNT
            ]
            going = {record.id: record.size for record, mount in known if mount and goes(mount)}
            gone = prune_leaves(engine, [*going])
            freed += sum(going[id] for id in gone)
            if going.keys() <= gone:
                break
    return freed


def drop_records(engine: Engine, ids: Sequence[str]) -> None:
    """Remove these records; what cannot be removed stays."""
    with suppress(EngineError):
        prune_leaves(engine, ids)


def drop_unused(engine: Engine, project: Project, since: float) -> int:
    """Remove mounts of this checkout's namespaces that no service uses now, made well before `since` (epoch seconds).

    Younger ones may be those of a build in a namespace of its own that still runs: its steps may not have them in use.
    Their bytes.
    """
    namespaces = read_namespaces(project)
    current = namespaces.current(project.names)
    with suppress(EngineError):
        going = {
            record.id: record.size
            for record in engine.cache_records()
            if record.kind == MOUNT
            and (mount := mount_id(record.description))
            and is_own(mount[0], project.checkout)
            and mount[0] not in current
            and record.created < since - CLEAN_SECONDS
            and not record.in_use
        }
        return sum(going[id] for id in prune_leaves(engine, [*going]))
    return 0


def mounts_left(
    recipes: Iterable[Recipe], names: Iterable[str], moved: Collection[str], before: Namespaces
) -> frozenset[tuple[str, str]]:
    """The mounts, by namespace and id, that services which `moved` leave behind and no other service uses.

    `recipes` are those of all services, and `names` their names: where one has none here, nobody knows what it uses.
    """
    ids: dict[str, set[str]] = {}
    for recipe in recipes:
        ids.setdefault(recipe.service.name, set()).update(id for id, _of_project in _mounts(recipe.parsed))
    left: set[tuple[str, str]] = set()
    for service in moved:
        namespace = before.of(service)
        staying = [name for name in names if name not in moved and before.of(name) == namespace]
        if all(name in ids for name in staying):
            used = {id for name in staying for id in ids[name]}
            left |= {(namespace, id) for id in ids.get(service, set()) - used}
    return frozenset(left)


def owner(project: Project, recipes: Iterable[Recipe], tried: Set[str] = frozenset()) -> Owner:
    """Whose things may go: this checkout's, of the services and mounts that these recipes name.

    `tried` are namespaces that no service uses yet: a build that is not over does.
    """
    of_ours = [recipe for recipe in recipes if recipe.service in project.services]
    mounts: dict[str, bool] = {}
    for recipe in of_ours:
        for id, of_project in _mounts(recipe.parsed):
            mounts[id] = mounts.get(id, True) and of_project
    services = frozenset(recipe.service.name for recipe in of_ours)
    images = frozenset(read_proven(project.state).ids)
    apart = frozenset({replace(project, root=project.measured).checkout})
    namespaces = read_namespaces(project)
    current = namespaces.current(project.names) | tried
    return Owner(
        project.name,
        project.checkout,
        services,
        mounts,
        images,
        apart,
        current=current,
        changed=namespaces.changed,
    )


def prune_leaves(engine: Engine, ids: Sequence[str]) -> Set[str]:
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
    for one in (one for stage in dockerfile.stages for one in stage.instructions):
        for id, seed in cache_mounts(dockerfile, one):
            yield id, _of_project(dockerfile, seed)


def _of_project(dockerfile: Dockerfile, seed: str) -> bool:
    """Whether what a stage holds can depend on the build context."""
    return any(_reads(dockerfile.stage(name)) for name in dockerfile.reachable(seed))


def _reads(stage: Stage | None) -> bool:
    return stage is not None and any(map(reads_context, stage.instructions))
