"""What whole stages are made from, part by part: a Dockerfile's stages, and what kiro.yaml gives to builds. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from kiro_invoke.builds.dockerfile import Dockerfile, Stage
from kiro_invoke.builds.planner import Recipe, base_refs
from kiro_invoke.model.fingerprint import Part
from kiro_invoke.model.service import Project

_CONFIGURATION = "kiro.yaml"


def base_parts(recipe: Recipe, project: Project) -> dict[Part, str]:
    """The parts of one Dockerfile, its comments and line breaks aside, and of the project's settings that it sees.

    Files are paths in the repository. Values are hashes: arguments may hold what nobody else should read.
    """
    place = _placed(recipe.path, project.root)
    given, replaced = dict(project.build_args), dict(project.base_images)
    parts = {Part(place, what): _hash(value) for what, value in _of_file(recipe.parsed)}
    for name in sorted((_arguments(recipe.parsed) & given.keys()) - recipe.parsed.arguments.keys()):
        parts[Part(_CONFIGURATION, f"build argument `{name}`")] = _hash(given[name])
    for ref in base_refs([recipe], given):
        if ref in replaced:
            parts[Part(_CONFIGURATION, f"base image in place of `{ref}`")] = _hash(replaced[ref])
    return parts


def _placed(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _of_file(parsed: Dockerfile) -> Iterator[tuple[str, object]]:
    for name, value in parsed.directives.items():
        yield f"directive `{name}`", value
    yield from ((f"argument `{name}`", value) for name, value in parsed.arguments.items())
    yield "last stage", parsed.stages[-1].name if parsed.stages else ""
    seen: set[str] = set()
    for number, stage in enumerate(parsed.stages):
        name = f"{stage.name} ({number})" if stage.name in seen else stage.name
        seen.add(stage.name)
        yield f"stage `{name}`", _meaning(stage)


def _meaning(stage: Stage) -> tuple[object, ...]:
    return (stage.base, *((each.keyword, each.rest, each.heredoc) for each in stage.instructions))


def _arguments(parsed: Dockerfile) -> frozenset[str]:
    """The names of the arguments that its stages declare: no other reaches them."""
    found: set[str] = set()
    for stage in parsed.stages:
        for each in stage.instructions:
            if each.keyword == "ARG":
                found |= {word.partition("=")[0] for word in each.rest.split()}
    return frozenset(found)


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode(errors="surrogateescape")).hexdigest()
