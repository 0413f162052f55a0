"""From which folders images are built: mirrors of the persons' contexts, held still until the build has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Recipe, shown, without_syntax_line
from kiro_invoke.changes.context import Rules, rules_of
from kiro_invoke.changes.mirror import Mirror, Mirrored, held, mirror_name, refresh
from kiro_invoke.changes.skeleton import refresh_skeleton
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.plan import Sending, Sent
from kiro_invoke.model.service import Project

CONTEXTS = "contexts"
#: How often a mirror is made while its ignore rules change.
_ROUNDS = 10


@dataclass
class _Wanted:
    context: Path
    recipes: list[Recipe] = field(default_factory=list)


@contextmanager
def mirrored(
    recipes: Sequence[Recipe],
    project: Project,
    *,
    waiting: Callable[[str], None],
    now: Callable[[], int] = time.time_ns,
) -> Iterator[Sending]:
    """Bring the mirrors of the recipes' contexts up to date, and keep others from changing them meanwhile.

    `waiting` is told the service whose mirror another build holds.
    """
    place = project.state / CONTEXTS
    with ExitStack() as holding:
        sending: dict[tuple[str, Path], Sent] = {}
        # in the order of their names, or two builds could wait for each other
        for name, wanted in sorted(_by_mirror(recipes, project.root).items()):
            service = wanted.recipes[0].service.name
            mirror = holding.enter_context(held(place, name, lambda service=service: waiting(service)))  # type: ignore[misc]
            done = _refreshed(mirror, wanted, project, now)
            for recipe in wanted.recipes:
                _check_is_as_read(recipe, done.dockerfiles[recipe.path], project)
            needed = any(recipe.has_skeleton for recipe in wanted.recipes)
            skeleton = refresh_skeleton(mirror, done, now=now()) if needed else None
            for recipe in wanted.recipes:
                sending[service, recipe.path] = Sent(
                    done.folder,
                    done.dockerfiles[recipe.path],
                    done.revision,
                    skeleton if recipe.has_skeleton else None,
                )
        yield sending


@contextmanager
def unhurried(
    recipes: Sequence[Recipe], project: Project, *, waiting: Callable[[str], None]
) -> Iterator[None]:
    """Keep builds of these recipes from beginning, and wait for those that run. `waiting` as for `mirrored`."""
    place = project.state / CONTEXTS
    with ExitStack() as holding:
        for name, wanted in sorted(_by_mirror(recipes, project.root).items()) if place.is_dir() else ():
            service = wanted.recipes[0].service.name
            holding.enter_context(held(place, name, lambda service=service: waiting(service)))  # type: ignore[misc]
        yield


def _refreshed(mirror: Mirror, wanted: _Wanted, project: Project, now: Callable[[], int]) -> Mirrored:
    """The mirror, refreshed by ignore rules that are still the same afterwards."""
    rules = _as_they_are_now(wanted, mirror.name, project.root)
    for _ in range(_ROUNDS):
        done = refresh(
            mirror,
            wanted.context,
            rules,
            [recipe.path for recipe in wanted.recipes],
            state=project.state,
            now=now(),
            texts={recipe.path: recipe.inline for recipe in wanted.recipes if recipe.inline is not None},
        )
        used, rules = rules, _as_they_are_now(wanted, mirror.name, project.root)
        if used == rules:
            return done
    raise ConfigError(
        "the ignore rules keep changing",
        file=str(rules.file or wanted.context),
        fix="build again when they rest",
    )


def _as_they_are_now(wanted: _Wanted, name: str, root: Path) -> Rules:
    """The ignore rules, read again for each Dockerfile: waiting for another build may have taken a while."""
    for recipe in wanted.recipes:
        rules = rules_of(recipe.service.context, recipe.path)
        if mirror_name(root, recipe.service.name, rules) != name:
            raise ConfigError(
                "its ignore file came or went since it was read",
                file=shown(recipe.path, root),
                fix="build again",
            )
    return rules


def _check_is_as_read(recipe: Recipe, copy: Path, project: Project) -> None:
    """ConfigError unless the copy that is built means what was planned: the Dockerfile was read before the wait."""
    try:
        text = (copy if recipe.inline is None else recipe.path).read_text(encoding="utf-8")
        is_as_read = parse(text).given(dict(project.build_args)) == recipe.parsed
    except (OSError, UnicodeDecodeError):
        is_as_read = False
    if not is_as_read or recipe.inline not in (None, without_syntax_line(text)):
        raise ConfigError(
            "changed since it was read", file=shown(recipe.path, project.root), fix="build again"
        )


def _by_mirror(recipes: Sequence[Recipe], root: Path) -> dict[str, _Wanted]:
    """The mirrors to bring up to date: Dockerfiles of one service with the same ignore rules share one."""
    mirrors: dict[str, _Wanted] = {}
    for recipe in recipes:
        rules = rules_of(recipe.service.context, recipe.path)
        name = mirror_name(root, recipe.service.name, rules)
        mirrors.setdefault(name, _Wanted(recipe.service.context)).recipes.append(recipe)
    return mirrors
