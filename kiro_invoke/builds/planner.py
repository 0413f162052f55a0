"""Decide which targets a build has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import takewhile
from pathlib import Path

from kiro_invoke.builds.clean import stages_to_run
from kiro_invoke.builds.dockerfile import DIRECTIVE, Dockerfile, Instruction
from kiro_invoke.model.plan import BuildPlan, Target
from kiro_invoke.model.service import Service

#: A stage that makes a context's skeleton (see changes.skeleton). `kiro build` gives the engine a folder for it.
SKELETON = "kiro-skeleton"
_MAKE_SKELETON = "kiro-fresh skeleton /context /skeleton"
_CONTEXT_MOUNT = {"type": "bind", "target": "/context"}
#: What a bind mount is anyway.
_READ_ONLY = frozenset((key, value) for key in ("ro", "readonly") for value in ("", "true"))
_SYNTAX = re.compile(r"#\s*syntax\s*=", re.IGNORECASE)


class Profile(StrEnum):
    """Which image of a service: the development one, or the one that is shipped."""

    DEV = "dev"
    PROD = "prod"


@dataclass(frozen=True)
class Recipe:
    """A service's Dockerfile for one profile, read."""

    service: Service
    profile: Profile
    path: Path
    parsed: Dockerfile
    inline: str | None = None

    @property
    def tag(self) -> str:
        return f"{self.service.image}:{self.profile}"

    @property
    def final(self) -> str:
        """The stage that makes the image: the last one."""
        return self.parsed.stages[-1].name

    @property
    def has_skeleton(self) -> bool:
        """Whether a folder may take the place of its stage SKELETON. A stage that does anything else simply runs."""
        return _makes_skeleton(self.parsed)


def plan_images(recipes: Iterable[Recipe], cause: str) -> BuildPlan:
    """Build the image of each recipe."""
    return _plan((recipe, recipe.final, cause) for recipe in recipes)


def plan_everything(recipes: Iterable[Recipe], cause: str) -> BuildPlan:
    """Build every stage of each recipe: the image, each stage that nothing else takes from, and the skeleton's."""
    return _plan(
        (recipe, stage, cause if why is None else f"{cause}: {why}")
        for recipe in recipes
        for stage, why in _stages(recipe).items()
    )


def cleaned(plan: BuildPlan, recipes: Iterable[Recipe]) -> BuildPlan:
    """The same plan, with every stage run that may depend on what cache mounts held."""
    return uncached(plan, {(r.service.name, r.path): stages_to_run(r.parsed) for r in recipes})


def uncached(plan: BuildPlan, stages: Mapping[tuple[str, Path], tuple[str, ...]]) -> BuildPlan:
    """The same plan, with these stages run of each service's Dockerfile."""
    return BuildPlan(
        tuple(
            replace(target, uncached=stages.get((target.service, target.dockerfile), ()))
            for target in plan.targets
        )
    )


def shown(path: Path, root: Path) -> str:
    """A path as messages tell it: from the project's root where it lies there."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def placed(path: Path, root: Path) -> str:
    """A path of the repository, with `/`; "" for the root."""
    return "" if path == root else shown(path, root)


def without_syntax_line(text: str) -> str:
    """A Dockerfile's text for the engine's own frontend: without its `# syntax=` line, line numbers kept.

    An empty comment takes its place behind the other directives: none is read after a comment.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = text.removeprefix(mark).splitlines(keepends=True)
    directives = len(list(takewhile(DIRECTIVE.match, lines)))
    kept = [line for line in lines[:directives] if not _SYNTAX.match(line)]
    blank = "#\r\n" if text.endswith("\r\n") else "#\n"
    return mark + "".join((*kept, *[blank] * (directives - len(kept)), *lines[directives:]))


def _stages(recipe: Recipe) -> dict[str, str | None]:
    """The stages to ask for so that every stage is built, and why if not for the image."""
    skeleton = {SKELETON: "plain builds run this stage"} if recipe.has_skeleton else {}
    leaves = dict.fromkeys(recipe.parsed.leaves(), "no image takes from this stage")
    return {recipe.final: None} | leaves | skeleton | {recipe.final: None}


def _makes_skeleton(parsed: Dockerfile) -> bool:
    """Whether the stage SKELETON holds what `kiro-fresh skeleton` makes of the context, and no more.

    It must stand on nothing: BuildKit 0.17.0 to 0.18.1 does not replace a stage that stands on another one
    (moby/buildkit #5596).
    """
    named = [stage for stage in parsed.stages if stage.name == SKELETON]
    if len(named) != 1 or named[0].base != "scratch" or parsed.stage("scratch"):
        return False
    match named[0].instructions:
        case (Instruction(keyword="COPY", sources=(source,), rest=rest),):
            maker = parsed.stage(source)
        case _:
            return False
    if maker is None or rest != f"--from={source} /skeleton /skeleton":
        return False
    return len(maker.instructions) == 1 and _is_skeletons_run(maker.instructions[0])


def _is_skeletons_run(run: Instruction) -> bool:
    _mount, _, command = run.rest.partition(" ")
    if len(run.mounts) != 1 or command != _MAKE_SKELETON:
        return False
    fields = run.mounts[0].items()
    asked = {key: value for key, value in fields if (key, value) not in _READ_ONLY}
    return {"type": "bind"} | asked == _CONTEXT_MOUNT


def _plan(wanted: Iterable[tuple[Recipe, str, str]]) -> BuildPlan:
    names = _Names()
    return BuildPlan(tuple(_target(names, recipe, stage, cause) for recipe, stage, cause in wanted))


def _target(names: _Names, recipe: Recipe, stage: str, cause: str) -> Target:
    return Target(
        name=names.unique(f"{recipe.service.name}-{recipe.profile}-{stage}"),
        service=recipe.service.name,
        context=recipe.service.context,
        dockerfile=recipe.path,
        stage=stage,
        cause=cause,
        tag=recipe.tag if stage == recipe.final else None,
        inline=recipe.inline,
        platforms=recipe.service.platforms if recipe.profile is Profile.PROD else (),
    )


class _Names:
    """Target names that bake accepts (letters, digits, `_`, `-`), each given once."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def unique(self, wish: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_-]", "_", wish)
        name = next(name for name in _numbered(base) if name not in self._given)
        self._given.add(name)
        return name


def _numbered(base: str) -> Iterator[str]:
    yield base
    number = 2
    while True:
        yield f"{base}-{number}"
        number += 1


def base_refs(recipes: Iterable[Recipe], build_args: Mapping[str, str]) -> tuple[str, ...]:
    """Every image from outside that the recipes stand on, once each, in order."""
    return tuple(dict.fromkeys(ref for recipe in recipes for ref in recipe.parsed.bases(build_args)))
