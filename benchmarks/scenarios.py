"""When it is measured: what changed or was lost since the last build. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.variants import BACKEND, FRONTEND, Door, Variant


class Loss(StrEnum):
    """What is taken from the engine before a build is timed: build cache of one type, or everything."""

    NOTHING = ""
    LAYERS = "regular"
    MOUNTS = "exec.cachemount"
    ALL = "all"


@dataclass(frozen=True)
class Scenario:
    """One row of the table. `edits` names for each service the edit (see edits) that precedes a build."""

    name: str
    title: str
    edits: Mapping[str, str]
    loss: Loss = Loss.NOTHING
    services: tuple[str, ...] = (BACKEND, FRONTEND)

    def can_measure(self, variant: Variant) -> bool:
        """Whether the row has a meaning for it: what cargo keeps in a container, no engine can lose."""
        return variant.service in self.services and (
            self.loss is Loss.NOTHING or variant.door is not Door.CARGO
        )

    def measures(self, variant: Variant) -> bool:
        """Whether it is measured unless variants were chosen: not where it would take hours to show the same."""
        if not self.can_measure(variant):
            return False
        if self.loss is Loss.ALL:
            return variant.name in _COLD
        return not self.is_slow(variant) or self.name == SOURCE

    def is_slow(self, variant: Variant) -> bool:
        """Whether one sample takes minutes: everything is fetched and compiled."""
        if self.loss is Loss.ALL:
            return True
        if variant.stateless:
            return self.name != NOTHING
        return self.loss is Loss.MOUNTS and variant.name.startswith("guide")


NOTHING = "nothing"
SOURCE = "source"
LIBRARY = "source-library"
DEPENDENCY = "dependency"
#: The columns of the targets' table and what they are compared with: the other doors are as cold.
_COLD = frozenset({"fast", "prod", "standard", "standard-debug"})


def _both(edit: str) -> dict[str, str]:
    return {BACKEND: edit, FRONTEND: edit}


SCENARIOS = (
    Scenario(NOTHING, "nothing", {}),
    Scenario(SOURCE, "source edit (application)", _both(SOURCE)),
    Scenario(LIBRARY, "source edit (library at the bottom)", {BACKEND: LIBRARY}, services=(BACKEND,)),
    Scenario(DEPENDENCY, "add one dependency (leaf)", _both(DEPENDENCY)),
    Scenario("version", "local version bump", _both("version")),
    Scenario("comment", "comment in a manifest", _both("comment")),
    Scenario("script", "an npm script", {FRONTEND: "script"}, services=(FRONTEND,)),
    Scenario("layers-lost", "layers lost, mounts kept", {}, Loss.LAYERS),
    Scenario("mounts-lost", "mounts lost, layers kept (and a source edit)", _both(SOURCE), Loss.MOUNTS),
    Scenario("cold", "stone cold", {}, Loss.ALL),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
