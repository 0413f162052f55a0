"""What builds of each kind cost on this machine: seconds of whole builds in which one service alone had changed."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kiro_invoke.builds.noting import Drawn
from kiro_invoke.builds.planner import Profile
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.change import Kind

FILE = "costs.json"
_KEPT = 50


@dataclass(frozen=True)
class Costs:
    """Seconds of development builds, newest last, by ecosystem and kind of change."""

    seconds: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)

    def median(self, ecosystem: str, kind: Kind) -> float | None:
        """The usual seconds; None if no such build was measured here."""
        found = self.seconds.get(ecosystem, {}).get(str(kind), ())
        return statistics.median(found) if found else None

    def count(self, ecosystem: str, kind: Kind) -> int:
        return len(self.seconds.get(ecosystem, {}).get(str(kind), ()))

    def with_build(self, ecosystem: str, kind: Kind, seconds: float) -> Costs:
        """The same with one more build."""
        kinds = self.seconds.get(ecosystem, {})
        kept = (*kinds.get(str(kind), ()), round(seconds, 3))[-_KEPT:]
        return Costs({**self.seconds, ecosystem: {**kinds, str(kind): kept}})


def read_costs(state: Path) -> Costs:
    """What was measured; nothing where the file is missing or damaged."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        raw = json.loads((state / FILE).read_text(encoding="utf-8"))
        return Costs(
            {
                str(ecosystem): {
                    str(kind): tuple(float(each) for each in some if math.isfinite(float(each)))
                    for kind, some in kinds.items()
                }
                for ecosystem, kinds in raw.items()
            }
        )
    return Costs()


def note_cost(state: Path, drawn: Sequence[Drawn], seconds: float) -> None:
    """Remember what a development build cost, if one service alone had changed, in a way that can be told."""
    if len(drawn) != 1 or drawn[0].recipe.profile is not Profile.DEV:
        return
    kind, ecosystem = drawn[0].kind, drawn[0].recipe.service.ecosystem
    if kind in (Kind.SOURCE, Kind.DEPENDENCY):
        costs = read_costs(state).with_build(ecosystem, kind, seconds)
        write_whole(state / FILE, json.dumps(costs.seconds))
