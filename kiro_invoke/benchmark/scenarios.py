"""What is measured: scenarios (what changed or was lost) and variants (in which way is built). Pure."""

from __future__ import annotations

from enum import StrEnum


class Scenario(StrEnum):
    """What a build comes after, in the order in which they are measured: what empties caches comes last."""

    SOURCE = "source"
    WARM = "warm"
    DEPENDENCY = "dependency"
    MOUNTS_LOST = "mounts-lost"
    LAYERS_LOST = "layers-lost"
    COLD = "cold"

    @property
    def described(self) -> str:
        return _TITLES[self]

    @property
    def edits(self) -> bool:
        """Whether a file is edited before each build."""
        return self in (Scenario.SOURCE, Scenario.DEPENDENCY, Scenario.MOUNTS_LOST)


class Variant(StrEnum):
    """A way to build a service."""

    STANDARD = "standard"
    STANDARD_DEV = "standard-dev"
    PROD = "prod"
    FAST = "fast"
    LIVE = "live"

    @property
    def described(self) -> str:
        return _WAYS[self]

    @property
    def keeps_nothing(self) -> bool:
        """Whether every change costs it everything."""
        return self in (Variant.STANDARD, Variant.STANDARD_DEV)


_TITLES = {
    Scenario.SOURCE: "a source edited",
    Scenario.WARM: "nothing changed",
    Scenario.DEPENDENCY: "a dependency added",
    Scenario.MOUNTS_LOST: "mounts lost, a source edited",
    Scenario.LAYERS_LOST: "layers lost, mounts kept",
    Scenario.COLD: "no layers, no mounts",
}
_WAYS = {
    Variant.STANDARD: "the unoptimized Dockerfile",
    Variant.STANDARD_DEV: "the unoptimized Dockerfile, debug profile",
    Variant.PROD: "kiro, the production image",
    Variant.FAST: "kiro, the development image",
    Variant.LIVE: "kiro watch, in the running container",
}


def can_measure(scenario: Scenario, variant: Variant) -> bool:
    """Whether the pair has a meaning of its own.

    What keeps nothing has nothing to lose, and a running container holds what a build would take from the engine.
    """
    if variant is Variant.LIVE:
        return scenario is Scenario.SOURCE
    if variant.keeps_nothing:
        return scenario not in (Scenario.MOUNTS_LOST, Scenario.LAYERS_LOST)
    return True


def measures(scenario: Scenario, variant: Variant) -> bool:
    """Whether it is measured unless variants were chosen: not where minutes would go to show the same once more."""
    if not can_measure(scenario, variant):
        return False
    if variant is Variant.STANDARD:
        return scenario in (Scenario.SOURCE, Scenario.WARM, Scenario.COLD)
    if variant is Variant.STANDARD_DEV:
        return scenario in (Scenario.SOURCE, Scenario.COLD)
    return True


def is_slow(scenario: Scenario, variant: Variant) -> bool:
    """Whether all of it is fetched and compiled, or a container is started for it: a quick run does that once."""
    return scenario is Scenario.COLD or variant is Variant.LIVE or (variant.keeps_nothing and scenario.edits)
