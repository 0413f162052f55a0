"""What is measured of one service: how it can be built, what it is compared with, and the file that is edited."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from kiro_invoke.benchmark.edits import source_of
from kiro_invoke.benchmark.packages import Adding, adding
from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.benchmark.standards import Standard
from kiro_invoke.builds.planner import Profile, Recipe
from kiro_invoke.model.service import Service

#: The image that a variant makes through the tool.
PROFILES = {Variant.PROD: Profile.PROD, Variant.FAST: Profile.DEV}
#: The stage that a team has ready as an image.
CHEF = "chef"


@dataclass(frozen=True)
class Subject:
    """A service to measure. `source` and `adds` are None where no file to edit, or no package to add, is known.

    `base` is the image from outside that it is built on.
    """

    name: str
    ecosystem: str
    base: str
    standards: Mapping[Variant, Standard]
    profiles: frozenset[Profile]
    source: str | None = None
    adds: Adding | None = None
    #: of which profiles the Dockerfile has the stage that a team has as an image
    chefs: frozenset[Profile] = frozenset()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The ways in which it can be built."""
        images = {variant for variant, profile in PROFILES.items() if profile in self.profiles}
        live = {Variant.LIVE} if Variant.FAST in images else set()
        return tuple(one for one in Variant if one in {*images, *self.standards, *live})


def subject(
    service: Service,
    recipes: Collection[Recipe],
    standards: Mapping[Variant, Standard],
    base: str,
    names: Collection[str],
    read: Callable[[str], str],
) -> Subject:
    """A service as it is measured. `names` are the files of its context, `read` gives the text of one."""
    source = service.benchmark.source or source_of(service.ecosystem, names, read)
    return Subject(
        service.name,
        service.ecosystem,
        base,
        standards,
        frozenset(recipe.profile for recipe in recipes),
        source,
        adding(service.ecosystem, source, frozenset(names)) if source else None,
        frozenset(recipe.profile for recipe in recipes if recipe.parsed.stage(CHEF) is not None),
    )
