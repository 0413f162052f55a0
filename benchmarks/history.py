"""How long `kiro report` takes on a long history: fills a metrics store, and reads it in the ways there are.

python -m benchmarks.history --builds 100000 --json history.json
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from kiro_invoke.engine import process
from kiro_invoke.metrics.entry import CACHED, LIVE, RAN, Entry, ImageEntry
from kiro_invoke.metrics.store import Store
from kiro_invoke.model.record import Step

TARGET_SECONDS = 2.0
SERVICES = ("backend", "frontend")
STAGES = ("base", "chef", "planner", "cook", "build", "dev")
#: Kind, share of builds, seconds of one.
KINDS = (
    ("IGNORED", 0.2, 0.4),
    ("SOURCE", 0.66, 2.1),
    ("DEPENDENCY", 0.1, 8.0),
    ("BASE", 0.03, 90.0),
    ("CONFIG", 0.01, 5.0),
)
FILES = {"IGNORED": "", "DEPENDENCY": "Cargo.toml", "BASE": "Dockerfile.fast", "CONFIG": "kiro.yaml"}
_AT_ONCE = 5_000
_RUNS = 5


def entries(count: int, *, until: float, seed: int = 7, every: float = 600.0) -> Iterator[Entry]:
    """`count` builds of two services up to a time (epoch), oldest first, the same for the same seed."""
    dice = random.Random(seed)
    for number in range(count):
        began = until - (count - number) * every
        yield _entry(dice, number, began)


def _entry(dice: random.Random, number: int, began: float) -> Entry:
    kinds = [name for name, _, _ in KINDS]
    weights = [share for _, share, _ in KINDS]
    live = dice.random() < 0.3
    images = []
    steps: list[Step] = []
    for service in SERVICES:
        kind = dice.choices(kinds, weights)[0]
        usual = next(seconds for name, _, seconds in KINDS if name == kind)
        seconds = round(usual * dice.lognormvariate(0.0, 0.15), 3)
        file = FILES.get(kind, f"src/part{dice.randrange(200)}.rs")
        ran = {"IGNORED": 0, "SOURCE": 2, "DEPENDENCY": 4}.get(kind, 6)
        verdict = RAN if ran > 3 else CACHED
        predicted = verdict if dice.random() > 0.001 else {RAN: CACHED, CACHED: RAN}[verdict]
        cause = f"{file} changed" if file else ""
        images.append(
            ImageEntry(
                service, "dev", kind, cause, file, f"r{number}",
                predicted=predicted, verdict=verdict, seconds=seconds,
                cached=0 if live else 6 - ran, ran=0 if live else ran,
            )
        )  # fmt: skip
        steps += [] if live else _steps(service, ran, began, seconds)
    return Entry(
        began, round(max(image.seconds or 0 for image in images), 3), "watch" if live else "build",
        ok=dice.random() > 0.02, way=LIVE if live else "image",
        cache_layers=4_000_000_000 + number * 20_000, cache_mounts=1_500_000_000 + number * 9_000,
        images=tuple(images), steps=tuple(steps),
    )  # fmt: skip


def _steps(service: str, ran: int, began: float, seconds: float) -> Iterator[Step]:
    each = seconds / max(ran, 1)
    for place, stage in enumerate(STAGES):
        turn = place - (len(STAGES) - ran)
        if turn < 0:
            yield Step(service, stage, f"RUN make {stage}", cached=True)
        else:
            started = began + turn * each
            yield Step(service, stage, f"RUN make {stage}", False, round(each, 3), started, started + each)


def fill(state: Path, count: int, *, until: float) -> None:
    """A store with `count` builds in the state folder."""
    store = Store(state, print)
    some: list[Entry] = []
    for entry in entries(count, until=until):
        some.append(entry)
        if len(some) == _AT_ONCE:
            store.add(some)
            some = []
    store.add(some)


def measure(root: Path, *options: str) -> list[dict[str, float]]:
    """Seconds of whole processes of `kiro report` in a repository: wall time, and CPU time, which a busy machine
    moves less. `load` is the machine's just before."""
    taken = []
    for _ in range(_RUNS):
        load, used, begun = os.getloadavg()[0], _cpu(), time.perf_counter()
        done = process.run(
            ["env", "--chdir", str(root), sys.executable, "-m", "kiro_invoke.cli", "report", *options],
            env={"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        wall = time.perf_counter() - begun
        taken.append({"wall": round(wall, 3), "cpu": round(_cpu() - used, 3), "load": round(load, 2)})
        if not done.ok:
            raise SystemExit(done.stderr)
    return taken


def _cpu() -> float:
    of_children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of_children.ru_utime + of_children.ru_stime


WAYS = {
    "text": (),
    "json": ("--format", "json"),
    "html": ("--output", "report.html"),
    "last 1000": ("--last", "1000"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--builds", type=int, default=100_000)
    arguments.add_argument("--json", type=Path)
    wished = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "kiro.yaml").write_text("project: history\n")
        (root / ".kiro").mkdir()
        begun = time.perf_counter()
        fill(root / ".kiro", wished.builds, until=time.time())
        size = (root / ".kiro/metrics.sqlite").stat().st_size
        print(f"{wished.builds:,} builds: {time.perf_counter() - begun:.1f} s to fill, {size / 1e6:.0f} MB")
        found = {name: measure(root, *options) for name, options in WAYS.items()}
    for name, taken in found.items():
        wall, cpu, load = (
            statistics.median(each[what] for each in taken) for what in ("wall", "cpu", "load")
        )
        share = f"{wall / TARGET_SECONDS:.0%} of {TARGET_SECONDS:.0f} s"
        print(f"  {name:<10} {wall:6.2f} s  ({share}; {cpu:.2f} s of CPU, load {load:.1f})")
    if wished.json:
        wished.json.write_text(
            json.dumps({"builds": wished.builds, "bytes": size, "seconds": found}, indent=2)
        )


if __name__ == "__main__":
    main()
