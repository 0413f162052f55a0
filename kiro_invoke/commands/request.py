"""What a build command is asked for, and what that would build."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.builds.shipping import STAYING, Leaving
from kiro_invoke.cache import warm
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.model.plan import BuildPlan
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean

Planning = Callable[[tuple[Recipe, ...]], BuildPlan]


@dataclass(frozen=True)
class Request:
    """What a build command was asked for."""

    services: tuple[str, ...]
    profiles: tuple[Profile, ...]
    planning: Planning
    pull: bool = False
    setup: bool = False
    clean: bool = False
    dry_run: bool = False
    show_definition: bool = False
    command: str = "build"
    timings: bool = False
    #: Only the services that are affected since this git revision.
    since: str | None = None
    #: Fill the shared cache.
    push: bool = False
    leaving: Leaving = STAYING


def planned(project: Project, recipes: tuple[Recipe, ...], request: Request) -> Answer:
    """What would be built."""
    plan = request.planning(recipes)
    bases = warm.wanted_bases(project, recipes)
    fields = {
        "dry_run": True,
        "base_images": [{"ref": ref, "status": "wanted"} for ref in bases],
        "targets": [
            {"name": t.name, "service": t.service, "stage": t.stage, "tag": t.tag, "cause": t.cause}
            for t in plan.targets
        ],
    }

    def show(surface: Surface) -> None:
        for ref in bases:
            surface.out.line(clean(f"base   {ref}"))
        surface.out.line(clean(str(plan)))

    return Answer(fields, show)
