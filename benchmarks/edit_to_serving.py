"""Measures the loop: from a save to what is served, beside Compose's watch and cargo alone, on the same images.

python -m benchmarks.edit_to_serving --runs 10 --json loop.json --markdown loop.md (see README.md).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.loop_scenarios import SCENARIOS, Bench
from benchmarks.table import grid
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import ExitCode, KiroError

_VERDICTS = {None: "", True: "met", False: "**missed**"}
REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """A target and what was measured of it. `met` is None where there is nothing to be met."""

    what: str
    target: str
    measured: str
    met: bool | None = None


@dataclass
class Run:
    """Samples by name, in seconds where not said otherwise, and what they come to."""

    machine: Mapping[str, object]
    samples: dict[str, list[float]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def take(self, name: str, value: float) -> None:
        self.samples.setdefault(name, []).append(round(value, 4))

    def median(self, name: str) -> float:
        return statistics.median(self.samples[name])


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a target was missed."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kiro-loop-", dir=options.root))
    run = Run({"load_before": machine.load()})
    try:
        for name, scenario in SCENARIOS.items():
            if not options.scenario or name in options.scenario:
                print(f"-- {name}", file=sys.stderr, flush=True)
                run.rows += [
                    Row(*row)
                    for row in scenario(Bench(folder, REPOSITORY, options.runs, run.take, run.median))
                ]
                _save(options.json, run)
    except KiroError as error:
        print(f"edit_to_serving: {error}", file=sys.stderr)
        return int(error.code)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = markdown(run)
    if options.markdown:
        write_whole(options.markdown, text)
    print(text)
    return int(ExitCode.MISSED if any(row.met is False for row in run.rows) else ExitCode.DONE)


def markdown(run: Run) -> str:
    """The rows with their verdicts, and the samples' medians."""
    rows = [[row.what, row.target, row.measured, _VERDICTS[row.met]] for row in run.rows]
    medians = [
        [name, f"{statistics.median(each):.3f}", f"{min(each):.3f}", f"{max(each):.3f}", str(len(each))]
        for name, each in run.samples.items()
    ]
    return "\n\n".join(
        [
            "# From a save to what is served",
            grid(["what", "target", "measured", ""], rows),
            "Medians, least and most, in seconds:",
            grid(["sample", "median", "least", "most", "runs"], medians),
        ]
    )


def _save(file: Path | None, run: Run) -> None:
    if file is not None:
        value = {"machine": run.machine, "samples": run.samples, "rows": [asdict(row) for row in run.rows]}
        write_whole(file, json.dumps(value, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edit_to_serving", description=__doc__)
    add = parser.add_argument
    add("--scenario", action="append", choices=list(SCENARIOS), help="repeatable; all of them without it")
    add("--runs", type=int, default=10, help="samples of each (10); of what takes long a third")
    add("--json", type=Path, help="samples and verdicts; written after each scenario")
    add("--markdown", type=Path, help="the tables")
    add("--root", type=Path, default=Path("/var/tmp"), help="where the services' copies lie (/var/tmp)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
