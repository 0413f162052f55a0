"""Measures what a day's work leaves on the disk: dependency and source edits in a row through `kiro build`.

python -m benchmarks.disk --json disk.json (see README.md).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.edits import EDITS
from benchmarks.fast_dockerfiles import ROOT, place_in, say, stop_on_signals
from benchmarks.runner import REPOSITORY, Place, all_bases
from benchmarks.scenarios import DEPENDENCY, SOURCE
from benchmarks.table import grid
from benchmarks.targets import Verdict
from benchmarks.variants import BACKEND, VARIANTS
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import ExitCode, KiroError

MOST_BYTES = 3 * 10**9
_FAST = next(v for v in VARIANTS if (v.service, v.name) == (BACKEND, "fast"))


@dataclass(frozen=True)
class Reading:
    """What the engine's data take after so many edits, and how long the edits since the reading before took.

    `accounted` is what the engine itself says of its disk: kind and size.
    """

    edits: int
    bytes: int
    seconds: tuple[float, ...] = ()
    accounted: tuple[str, ...] = ()


def order(dependencies: int, sources: int) -> tuple[str, ...]:
    """The edits in their order: dependency edits spread evenly among source edits."""
    total = dependencies + sources
    turns = (at * dependencies // total != (at + 1) * dependencies // total for at in range(total))
    return tuple(DEPENDENCY if turn else SOURCE for turn in turns)


def verdict(readings: Sequence[Reading], edits: int) -> Verdict:
    """Whether the growth from the first reading to that after the last edit keeps the target."""
    if not readings or readings[-1].edits < edits:
        return Verdict.UNMEASURED
    grown = readings[-1].bytes - readings[0].bytes
    return Verdict.MET if grown <= MOST_BYTES else Verdict.MISSED


def markdown(readings: Sequence[Reading], edits: int) -> str:
    """The readings as a table, and the verdict."""
    first = readings[0].bytes if readings else 0
    rows = [
        [str(each.edits), f"{each.bytes / 1e9:.2f}", f"{(each.bytes - first) / 1e9:+.2f}"]
        for each in readings
    ]
    table = grid(["edits", "engine's data (GB)", "growth (GB)"], rows)
    return f"{table}\n\nTarget: at most {MOST_BYTES / 1e9:g} GB after {edits} edits: {verdict(readings, edits)}.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where the target was missed."""
    options = _parser().parse_args(arguments)
    stop_on_signals()
    edits = order(options.dependencies, options.sources)
    readings: list[Reading] = []
    try:
        with place_in(options.root / "disk", keep=options.keep, fresh=True) as place:
            facts = machine.facts(place.engine, REPOSITORY, all_bases(VARIANTS))

            def read(reading: Reading) -> None:
                readings.append(reading)
                say(f"{reading.edits} edits: {reading.bytes / 1e9:.2f} GB")
                if options.json:
                    write_whole(options.json, _json(facts, edits, readings))

            _measure(place, edits, read)
    except KiroError as error:
        say(f"disk: {error}")
        return int(error.code)
    except KeyboardInterrupt:
        say("interrupted")
        return int(ExitCode.INTERRUPTED)
    print(markdown(readings, len(edits)))
    missed = verdict(readings, len(edits)) is Verdict.MISSED
    return int(ExitCode.MISSED if missed else ExitCode.DONE)


def _json(facts: Mapping[str, Any], edits: Sequence[str], readings: Sequence[Reading]) -> str:
    value = {
        "schema": 1,
        "machine": facts,
        "edits": edits,
        "most_bytes": MOST_BYTES,
        "verdict": verdict(readings, len(edits)),
        "readings": [asdict(each) for each in readings],
    }
    return json.dumps(value, indent=1) + "\n"


def _measure(place: Place, edits: Sequence[str], read: Callable[[Reading], None]) -> None:
    """Warm the engine, then edit and build; a reading of the disk after every tenth edit."""
    packages = place.packages(BACKEND)
    added: Mapping[str, str] = {}
    say("first build")
    _build(place)
    read(_reading(place, 0, ()))
    seconds: list[float] = []
    for number, kind in enumerate(edits, start=1):
        if kind == DEPENDENCY:
            added = packages.take(place.counter)
            place.tree.write(BACKEND, added)
        else:
            edit = EDITS[BACKEND, SOURCE]
            edited = edit.change(place.tree.texts(BACKEND, edit.files), number)
            place.tree.write(BACKEND, {**added, **edited})
        seconds.append(_build(place))
        if number % 10 == 0 or number == len(edits):
            read(_reading(place, number, seconds))
            seconds.clear()


def _reading(place: Place, number: int, seconds: Sequence[float]) -> Reading:
    accounted = place.engine.must("system", "df", "--format", "{{.Type}}: {{.Size}}").splitlines()
    return Reading(number, place.engine.data_bytes(), tuple(seconds), tuple(accounted))


def _build(place: Place) -> float:
    timed = place.builder.build(_FAST)
    if timed.seconds is None:
        raise KiroError(f"`kiro build` failed:\n{timed.detail}")
    return round(timed.seconds, 3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disk", description=__doc__)
    add = parser.add_argument
    add("--dependencies", type=int, default=20, help="dependency edits (20)")
    add("--sources", type=int, default=50, help="source edits (50)")
    add("--json", type=Path, help="the readings and the verdict")
    add("--root", type=Path, default=ROOT, help=f"where the engine's data lie ({ROOT})")
    add("--keep", action="store_true", help="keep the engine's data, to look into them")
    return parser


if __name__ == "__main__":
    sys.exit(main())
