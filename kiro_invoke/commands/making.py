"""Images and containers for the loop: as `build` and `up` make them, told to a screen that is not theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Never

from kiro_invoke.builds.planner import Profile, Recipe, plan_images
from kiro_invoke.builds.progress import Event, Printed, Started
from kiro_invoke.cache import warm
from kiro_invoke.commands.one_build import build_now
from kiro_invoke.commands.request import Request
from kiro_invoke.commands.surface import Surface
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.loop.attach import Attaching
from kiro_invoke.loop.compose import Compose
from kiro_invoke.model.service import Project
from kiro_invoke.screen import Paper

_LONGEST = 60


class ImagesAndContainers:
    """work.Making for one project."""

    def __init__(
        self,
        surface: Surface,
        project: Project,
        engine: Engine,
        compose: Compose,
        attaching: Attaching,
        note: Callable[[str], None],
    ) -> None:
        self._surface = replace(surface, err=_Noted(note, set()))
        self._project = project
        self._engine = engine
        self._compose = compose
        self.attaching = attaching

    def build(self, service: str, brake: Brake, on_phase: Callable[[str], None]) -> None:
        """One image, anew or from the cache."""

        def shown(event: Event) -> None:
            if isinstance(event, Started | Printed) and event.step.stage:
                what = event.line if isinstance(event, Printed) else event.step.text
                if what.strip():
                    on_phase(f"building ({event.step.stage} {what.strip()[:_LONGEST]})")

        on_phase("building")
        self._build((self._recipe(service),), "a change is to be served", shown, brake)

    def build_together(self, services: Sequence[str]) -> None:
        """The images of several services, as one graph."""
        recipes = tuple(self._recipe(service) for service in services)
        self._build(recipes, "watch runs this image", None, None)

    def start(self, service: str) -> None:
        self._compose.start((service,), alone=True)

    def start_together(self, services: Sequence[str]) -> None:
        """All that these need as well."""
        self._compose.start(services)

    def condition(self, service: str) -> str:
        found = self.attaching.look().get(service, [])
        if not found or not found[0].running:
            return "stopped"
        return found[0].condition

    def _build(
        self,
        recipes: tuple[Recipe, ...],
        cause: str,
        shown: Callable[[Event], None] | None,
        brake: Brake | None,
    ) -> None:
        request = Request((), (Profile.DEV,), lambda found: plan_images(found, cause), command="watch")
        build_now(
            self._surface, self._project, self._engine, recipes, request, shown=shown or _quiet, brake=brake
        )

    def _recipe(self, service: str) -> Recipe:
        """Read anew each time: what is planned must be what is built."""
        own = next(one for one in self._project.services if one.name == service)
        (recipe,) = warm.read_recipes(replace(self._project, services=(own,)), (Profile.DEV,))
        return recipe


def _quiet(_event: Event) -> None:
    """Shows nothing."""


class _Noted(Paper):
    """Lines go to the loop's screen, each once: what holds for one build holds for the next."""

    def __init__(self, note: Callable[[str], None], noted: set[str]) -> None:
        super().__init__(_no_console)
        self._note = note
        self._noted = noted

    @property
    def is_terminal(self) -> bool:
        return False

    def line(self, *parts: str | tuple[str, str]) -> None:
        self.unwrapped("".join(part if isinstance(part, str) else part[0] for part in parts))

    def unwrapped(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


def _no_console() -> Never:
    raise AssertionError("lines are noted, not printed")
