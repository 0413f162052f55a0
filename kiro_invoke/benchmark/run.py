"""A run on disk: saved after each sample, so that an interrupted one loses nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kiro_invoke.benchmark.samples import Key, Sample, Samples
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.schedule import Choice
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import UsageError

SCHEMA = 1
_PRIVATE = 0o600


@dataclass
class Run:
    """What is measured on what, and the samples so far.

    `sources` is a hash of all that was copied. `unmeasured` tells of figures why they cannot be measured; `begun` is
    when it began, ISO 8601.
    """

    choice: Choice
    sources: str
    begun: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    unmeasured: list[str] = field(default_factory=list)
    finished: bool = False

    @property
    def figures(self) -> Samples:
        return Samples(self.samples)

    def save(self, path: Path) -> None:
        value = {
            "schema": SCHEMA,
            "choice": asdict(self.choice),
            "sources": self.sources,
            "begun": self.begun,
            "machine": self.machine,
            "samples": [_sample_fields(sample) for sample in self.samples],
            "unmeasured": self.unmeasured,
            "finished": self.finished,
        }
        write_whole(path, json.dumps(value, indent=1) + "\n", mode=_PRIVATE)


def load(path: Path) -> Run:
    """A run as it was saved; UsageError if there is none, or it cannot be read."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["schema"] != SCHEMA:
            raise ValueError(f"schema {raw['schema']}")
        return Run(
            choice=_choice(raw["choice"]),
            sources=str(raw["sources"]),
            begun=str(raw["begun"]),
            machine=dict(raw["machine"]),
            samples=[_sample(each) for each in raw["samples"]],
            unmeasured=[str(each) for each in raw["unmeasured"]],
            finished=bool(raw["finished"]),
        )
    except FileNotFoundError:
        raise UsageError("there is no run to go on with", fix="begin one without --resume") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"the run cannot be gone on with: {error}", file=str(path), fix="begin one without --resume"
        ) from None


def _choice(raw: Mapping[str, Any]) -> Choice:
    return Choice(
        scenarios=tuple(map(Scenario, raw["scenarios"])),
        variants={str(name): tuple(map(Variant, each)) for name, each in raw["variants"].items()},
        chosen=tuple(map(Variant, raw["chosen"])),
        runs=int(raw["runs"]),
        slow_runs=int(raw["slow_runs"]),
        seed=int(raw["seed"]),
        without=tuple(map(Variant, raw["without"])),
    )


def _sample_fields(sample: Sample) -> dict[str, Any]:
    rest = {name: value for name, value in asdict(sample).items() if name != "key"}
    return asdict(sample.key) | rest


def _sample(raw: Mapping[str, Any]) -> Sample:
    return Sample(
        Key(str(raw["service"]), Scenario(raw["scenario"]), Variant(raw["variant"])),
        int(raw["round"]),
        None if raw["seconds"] is None else float(raw["seconds"]),
        float(raw["probe"]),
        str(raw["at"]),
        str(raw["detail"]),
        tuple(map(str, raw.get("tail", ()))),
    )
