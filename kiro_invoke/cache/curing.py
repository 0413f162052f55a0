"""How a build is done once more where a cache mount is damaged: in a new namespace, what it may have spoiled run anew.

Pure: a build, how it failed and a new namespace in, a plan out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kiro_invoke.builds.clean import stages_to_run, tainted_stages
from kiro_invoke.builds.corruption import Corruption, Damage, diagnose
from kiro_invoke.builds.dockerfile import Dockerfile, expand
from kiro_invoke.builds.planner import Recipe, uncached
from kiro_invoke.builds.proof import NotProven
from kiro_invoke.cache.made import ran_here
from kiro_invoke.cache.warm import Prepared
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.model.record import FailedStep

_TELLING: Mapping[Damage, re.Pattern[str]] = {
    Damage.REGISTRY: re.compile("registry|cargo/git|cargo-git"),
    Damage.PACKAGES: re.compile("npm|yarn|apt|cache"),
    Damage.MODULES: re.compile("modules"),
    Damage.TARGET: re.compile("target|deps"),
    Damage.UNKNOWN: re.compile(""),
}


@dataclass(frozen=True)
class Cure:
    """The build once more: for `services` in `namespace`. `causes` tells of each what was found."""

    services: tuple[str, ...]
    namespace: str
    prepared: Prepared
    causes: Mapping[str, str]

    @property
    def said(self) -> tuple[str, ...]:
        return tuple(
            f"{name}: {cause}: building once more in a new namespace" for name, cause in self.causes.items()
        )


def cure_of(prepared: Prepared, error: BuildFailed, namespace: str) -> Cure | None:
    """How to build once more in `namespace`; None where no cache mount can be why it failed."""
    if isinstance(error, NotProven):
        return _of_lie(prepared, error, namespace)
    step = error.step
    if step is None:
        return None
    own = [recipe for recipe in prepared.recipes if recipe.service.name in step.services]
    recipe = next((one for one in own if one.path == step.dockerfile), None)
    if recipe is None or not (below := _mounts_below(recipe.parsed, step)):
        return None
    found = diagnose(step.printed, below.values())
    if found is None:
        return None
    ran = {s.stage for s in error.attempt.steps if ran_here(s)} if error.attempt else set()
    stages = {
        (one.service.name, one.path): _anew(one, step, ran)
        for one in own
        # what was downloaded serves all images of a service
        if found.damage.is_download or one.path == step.dockerfile or one.service is not recipe.service
    }
    return _cure(prepared, step.services, namespace, stages, _cause(found, below, step.printed))


def _of_lie(prepared: Prepared, error: NotProven, namespace: str) -> Cure | None:
    """A build that succeeded, and whose image holds something else: what a mount held went into it."""
    target = next((one for one in prepared.plan.targets if one.tag == error.image), None)
    if target is None or not error.may_lie:
        return None
    key = target.service, target.dockerfile
    recipe = next(one for one in prepared.recipes if (one.service.name, one.path) == key)
    stages = stages_to_run(recipe.parsed)
    if not recipe.parsed.reachable(target.stage) & {*stages}:
        return None
    what = error.message.removeprefix(f"{target.service}: ")
    return _cure(prepared, (target.service,), namespace, {key: stages}, f"a cache mount is damaged ({what})")


def _cure(
    prepared: Prepared,
    services: tuple[str, ...],
    namespace: str,
    stages: Mapping[tuple[str, Path], tuple[str, ...]],
    cause: str,
) -> Cure:
    moved = prepared.moved(services, namespace)
    again = replace(moved, plan=uncached(moved.plan, stages))
    return Cure(services, namespace, again, dict.fromkeys(services, cause))


def _anew(recipe: Recipe, step: FailedStep, ran: set[str]) -> tuple[str, ...]:
    """The stages of a Dockerfile that run anew; the engine names one without a name by its number."""
    names = {f"stage-{at}": stage.name for at, stage in enumerate(recipe.parsed.stages)}
    failed = names.get(step.stage, step.stage)
    if recipe.parsed.stage(failed) is None:
        return stages_to_run(recipe.parsed)
    return tainted_stages(recipe.parsed, failed, {names.get(stage, stage) for stage in ran})


def _mounts_below(parsed: Dockerfile, step: FailedStep) -> dict[str, str]:
    """The cache mounts, id to folder, of the stage that failed and of those that it takes from; its own come first."""
    names = {f"stage-{at}": stage.name for at, stage in enumerate(parsed.stages)}
    failed = names.get(step.stage, step.stage)
    own = dict(_cache_mounts(parsed, failed))
    for name in sorted(parsed.reachable(failed) - {failed}):
        for id, folder in _cache_mounts(parsed, name):
            own.setdefault(id, folder)
    return own


def _cache_mounts(parsed: Dockerfile, name: str) -> Iterator[tuple[str, str]]:
    stage = parsed.stage(name)
    values = {key: value for key, value in parsed.arguments.items() if value is not None}
    for mount in (mount for one in (stage.instructions if stage else ()) for mount in one.mounts):
        folder = mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        if mount.get("type") == "cache" and folder:
            yield expand(mount.get("id") or folder, values), expand(folder, values)


def _cause(found: Corruption, mounts: Mapping[str, str], printed: tuple[str, ...]) -> str:
    """What is damaged, in words. The mount is the one that what was printed names, else the first of its kind."""
    said = [id for id, folder in mounts.items() if f"{folder}/" in found.evidence]
    said += [id for id, folder in mounts.items() if any(f"{folder}/" in line for line in printed)]
    kind = _TELLING[found.damage]
    alike = [id for id in said if kind.search(id)] + [
        id for id, folder in mounts.items() if kind.search(id) or kind.search(folder)
    ]
    which = next(iter(said[:1] + alike), "")
    what = f"the cache mount {which}" if which else "a cache mount"
    return f"{what} is {'read-only' if found.read_only else 'damaged'} ({found.evidence})"
