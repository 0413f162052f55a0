"""Measures the context mirror on a large context: the first refresh, nothing changed, one file changed.

python -m benchmarks.mirror --json mirror.json (see README.md). Needs no engine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.table import grid
from kiro_invoke.changes.context import Rules, rules_of
from kiro_invoke.changes.mirror import Mirrored, held, mirror_name, refresh
from kiro_invoke.changes.rescan import rescan
from kiro_invoke.changes.snapshot import NOTHING, Snapshot, scan
from kiro_invoke.changes.stored import Stored, load, save
from kiro_invoke.engine.files import write_whole

#: Seconds that a folder of 50,000 files may take, storing included.
TARGETS = {"scan, first": 3.0, "scan, nothing changed": 0.5, "rescan, one file changed": 0.005}
_IGNORE = "target\n**/node_modules\n**/*.log\n.git\n*.md\n!README.md\n"
_PER_FOLDER = 50


def make_context(root: Path, files: int) -> None:
    """A tree of source-like files, 12 bytes to 2.5 kB, fifty in a folder, with an ignore file of usual patterns."""
    for number in range(files):
        folder = root / f"package-{number // 1000:03}" / "src" / f"module_{number // _PER_FOLDER % 20:03}"
        if number % _PER_FOLDER == 0:
            folder.mkdir(parents=True)
        text = f"// {number:08}\n" * (number * 7919 % 200 + 1)
        (folder / f"file_{number % _PER_FOLDER:03}.rs").write_text(text)
    (root / ".dockerignore").write_text(_IGNORE)


class Sample(NamedTuple):
    """Seconds on the clock, and seconds of a core: on a busy machine they part."""

    seconds: float
    cpu_seconds: float


class Measured:
    """The scenarios, on one context. Each sample starts from what a real one would find."""

    def __init__(self, folder: Path, files: int) -> None:
        self.context = folder / "context"
        self.place = folder / "state" / "contexts"
        self.stored = folder / "stored.snapshot"
        make_context(self.context, files)
        self.rules: Rules = rules_of(self.context, self.context / "Dockerfile")
        self.changed = self.context / "package-000/src/module_000/file_000.rs"
        self.number = 0
        self.seen = NOTHING

    def samples(self, runs: int) -> dict[str, list[Sample]]:
        """Scenario -> what each run took."""
        taken: dict[str, list[Sample]] = {}
        for _ in range(runs):
            for scenario, sample in self._round():
                taken.setdefault(scenario, []).append(sample)
        return taken

    def _round(self) -> list[tuple[str, Sample]]:
        # a new folder, not an emptied one: some file systems are slow to take inodes that were just freed
        self.number += 1
        self.place = self.place.with_name(f"contexts-{self.number}")
        self.stored.unlink(missing_ok=True)
        steps: list[tuple[str, Callable[[], object]]] = [
            ("scan, first", self.scan),
            ("scan, nothing changed", self.scan),
            ("rescan, one file changed", self.rescan),
            ("mirror, first", self.refresh),
            ("mirror, nothing changed", self.refresh),
            ("mirror, one file changed", self.refresh),
        ]
        found = []
        for scenario, step in steps:
            if scenario.endswith("one file changed"):
                self.changed.write_text(f"edit {self.number} {scenario}\n")
            begun, used = time.perf_counter(), time.process_time()
            step()
            sample = Sample(round(time.perf_counter() - begun, 4), round(time.process_time() - used, 4))
            found.append((scenario, sample))
        return found

    def scan(self) -> Snapshot:
        """Load the stored snapshot, look at the folder, store it if it is another: as the watcher starts."""
        known = load(self.stored)
        before = known.snapshots[0] if known else NOTHING
        seen = scan(self.context, self.rules, before, self._now())
        if seen is not before:
            save(self.stored, Stored((seen,)))
        self.seen = seen
        return seen

    def rescan(self) -> None:
        """What the watcher does when it is told of an edit."""
        path = self.changed.relative_to(self.context).as_posix()
        after = rescan(self.context, self.rules, self.seen, [path], self._now())
        assert after is not self.seen

    def refresh(self) -> Mirrored:
        name = mirror_name(self.context, "benchmark", self.rules)
        with held(self.place, name, lambda: None) as mirror:
            return refresh(mirror, self.context, self.rules, [], state=self.place.parent, now=self._now())

    @staticmethod
    def _now() -> int:
        """The clock, a minute ahead: the files just made count as old ones."""
        return time.time_ns() + 60 * 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 where a target was missed; targets are for 50,000 files."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="kiro-benchmark-", dir=options.folder))
    try:
        samples = Measured(folder, options.files).samples(options.runs)
    finally:
        shutil.rmtree(folder)
    medians = {
        scenario: Sample(*map(statistics.median, zip(*taken, strict=True)))
        for scenario, taken in samples.items()
    }
    missed = [scenario for scenario, most in TARGETS.items() if medians[scenario].seconds > most]
    rows = [
        [scenario, *(f"{each:.4f}" for each in median), f"{TARGETS.get(scenario, '')}"]
        for scenario, median in medians.items()
    ]
    sys.stdout.write(
        grid([f"{options.files} files", "seconds (median)", "of a core", "at most"], rows) + "\n"
    )
    if options.json:
        facts = {
            "files": options.files,
            "samples": {scenario: [each._asdict() for each in taken] for scenario, taken in samples.items()},
            "medians": {scenario: median._asdict() for scenario, median in medians.items()},
            "missed": missed,
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "python": platform.python_version(),
            "kernel": platform.release(),
        }
        write_whole(options.json, json.dumps(facts, indent=2) + "\n")
    return 1 if missed and options.files >= 50_000 else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mirror", description=__doc__)
    parser.add_argument(
        "--files", type=int, default=50_000, help="files in the context (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=5, help="samples of each scenario (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="where to make the context (default: the temporary folder)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write samples and medians")
    return parser


if __name__ == "__main__":
    sys.exit(main())
