"""A run on disk: written after each sample, so that an interrupted run loses nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.figures import Figures, Sample, rounded
from benchmarks.scenarios import BY_NAME
from benchmarks.schedule import Choice
from benchmarks.targets import Judged, judge
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import UsageError

SCHEMA = 1


@dataclass
class Run:
    """A choice, what it was measured on, and the samples so far."""

    choice: Choice
    machine: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def figures(self) -> Figures:
        return Figures(self.samples)

    def to_json(self) -> str:
        """Everything, raw samples included, and what comes out of them."""
        choice = asdict(self.choice) | {"scenarios": [scenario.name for scenario in self.choice.scenarios]}
        value = {
            "schema": SCHEMA,
            "choice": choice,
            "machine": self.machine,
            "samples": [asdict(sample) for sample in self.samples],
            "medians": self._medians(),
            "targets": [_judged(each) for each in judge(self.figures)],
        }
        return json.dumps(value, indent=1)

    def save(self, path: Path) -> None:
        write_whole(path, self.to_json() + "\n")

    def _medians(self) -> list[dict[str, Any]]:
        figures = self.figures
        keys = dict.fromkeys((each.service, each.scenario, each.variant) for each in self.samples)
        rows = []
        for service, scenario, variant in keys:
            figure = figures.figure(service, scenario, variant)
            assert figure is not None
            row = {"service": service, "scenario": scenario, "variant": variant, "failed": figure.failed}
            if figure.seconds:
                low, high = min(figure.seconds), max(figure.seconds)
                share = figures.ratio(service, scenario, variant, "standard")
                numbers = {"median": figure.median, "min": low, "max": high, "of_standard": share}
                row |= {key: rounded(value, 4) for key, value in numbers.items()}
                row["samples"] = len(figure.seconds)
            rows.append(row)
        return rows


def load(path: Path) -> Run:
    """A run as it was saved; UsageError if the file holds none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        choice = value["choice"]
        scenarios = tuple(BY_NAME[name] for name in choice.pop("scenarios"))
        for key in ("services", "variants", "without"):
            choice[key] = tuple(choice.get(key, ()))
        samples = [Sample(**each) for each in value["samples"]]
        chosen = Choice(scenarios=scenarios, **choice)
        return Run(chosen, value["machine"], samples)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"cannot be continued: {error}", file=str(path), fix="name the --json file of a run"
        ) from None


def _judged(each: Judged) -> dict[str, Any]:
    return {
        "service": each.target.service,
        "scenario": each.target.scenario,
        "variant": each.target.variant,
        "limit": each.limit.text,
        "verdict": each.verdict,
        "seconds": rounded(each.seconds),
        "samples": each.samples,
        "allowed": rounded(each.allowed),
    }
