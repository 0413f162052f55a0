"""What stands for the time of a production build, so that building one tree twice makes one image. Pure.

A build argument SOURCE_DATE_EPOCH would be the plain way, but newer BuildKits make it a part of the key of each
WORKDIR: every commit would build dependencies anew. As an option of the output it costs nothing. An engine's own
builder ignores the option: there the argument is given where it was asked for, or where everything runs anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.builds.bake import EPOCH
from kiro_invoke.builds.dockerfile import Dockerfile, words_of
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.model.errors import UsageError

_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Epoch:
    """Seconds since 1970. `is_asked`: somebody named them, and they are not just the time of the commit."""

    seconds: int
    is_asked: bool = False


def asked_epoch(environ: Mapping[str, str], build_args: Mapping[str, str]) -> Epoch | None:
    """What kiro.yaml gives as a build argument, else the environment; UsageError if that is no time."""
    text = build_args.get(EPOCH) or environ.get(EPOCH)
    if not text:
        return None
    if not _SECONDS.fullmatch(text):
        raise UsageError(
            f"{EPOCH}={text!r} is no time", fix="give whole seconds since 1970, as `date +%s` does"
        )
    return Epoch(int(text), is_asked=True)


def as_arguments(
    recipes: Iterable[Recipe], epoch: Epoch, *, is_heeded: bool, runs_anyway: bool
) -> dict[tuple[str, Path], int]:
    """Which services and Dockerfiles are given it as a build argument.

    Those that declare it. All others too where the builder does not heed the option of the output (`is_heeded`), as
    long as it was asked for, or nothing is taken from the cache (`runs_anyway`).
    """
    everywhere = not is_heeded and (epoch.is_asked or runs_anyway)
    return {
        (recipe.service.name, recipe.path): epoch.seconds
        for recipe in recipes
        if everywhere or _declares(recipe.parsed)
    }


def _declares(parsed: Dockerfile) -> bool:
    return any(
        word.partition("=")[0] == EPOCH
        for stage in parsed.stages
        for one in stage.instructions
        if one.keyword == "ARG"
        for word in words_of(one.rest)
    )
