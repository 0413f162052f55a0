"""From which folders images are built: mirrors of the persons' contexts, held still until the build has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kiro_invoke.builds.planner import Recipe
from kiro_invoke.changes.context import Rules, rules_of
from kiro_invoke.changes.mirror import held, mirror_name, refresh
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.plan import Sending, Sent
from kiro_invoke.model.service import Project

CONTEXTS = "contexts"


@dataclass
class _Wanted:
    context: Path
    rules: Rules
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
            rules = _as_they_are_now(wanted, name, project.root)
            done = refresh(
                mirror,
                wanted.context,
                rules,
                [recipe.path for recipe in wanted.recipes],
                state=project.state,
                now=now(),
                texts={recipe.path: recipe.inline for recipe in wanted.recipes if recipe.inline is not None},
            )
            for recipe in wanted.recipes:
                sending[service, recipe.path] = Sent(
                    done.folder, done.dockerfiles[recipe.path], done.revision
                )
        yield sending


def _as_they_are_now(wanted: _Wanted, name: str, root: Path) -> Rules:
    """The ignore rules, read again: waiting for another build may have taken a while."""
    recipe = wanted.recipes[0]
    rules = rules_of(recipe.service.context, recipe.path)
    if mirror_name(root, recipe.service.name, rules) != name:
        raise ConfigError(
            "the ignore files changed while another build was waited for",
            file=str(recipe.path),
            fix="build again",
        )
    return rules


def _by_mirror(recipes: Sequence[Recipe], root: Path) -> dict[str, _Wanted]:
    """The mirrors to bring up to date: Dockerfiles of one service with the same ignore rules share one."""
    mirrors: dict[str, _Wanted] = {}
    for recipe in recipes:
        rules = rules_of(recipe.service.context, recipe.path)
        name = mirror_name(root, recipe.service.name, rules)
        mirrors.setdefault(name, _Wanted(recipe.service.context, rules)).recipes.append(recipe)
    return mirrors
