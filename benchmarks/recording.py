"""Measures what remembering a build adds to it: what a process does for it once the engine is done.

python -m benchmarks.recording (see README.md). Each sample is a process of its own, as each build is.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from kiro_invoke.commands.recording import Recorder
from kiro_invoke.engine import process
from kiro_invoke.model.change import Kind
from kiro_invoke.model.record import BuildRecord, ImageChange, ImageRecord, Step
from kiro_invoke.model.service import Project, Service

#: As this repository's own builds: two images, their steps' texts some hundred characters long.
_STEPS = 35
_SERVICES = ("backend", "frontend")


def main() -> int:
    """Print milliseconds: what a build waits for, and what it waits for on a machine that has nothing else to do."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--samples", type=int, default=200)
    asked.add_argument("--one", metavar="STATE")
    given = asked.parse_args()
    if given.one:
        sys.stdout.write(" ".join(map(str, sample(Path(given.one)))))
        return 0
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        (Path(folder) / ".kiro").mkdir()
        argv = [sys.executable, "-m", "benchmarks.recording", "--one", folder]
        found = [process.run(argv).stdout.split() for _ in range(given.samples)]
    for what, column in (("waited", 0), ("computing alone", 1)):
        ms = sorted(1000 * float(row[column]) for row in found)
        sys.stdout.write(
            f"{what}, {len(ms)} builds: median {statistics.median(ms):.1f} ms,"
            f" p95 {ms[int(0.95 * len(ms))]:.1f} ms, greatest {ms[-1]:.1f} ms\n"
        )
    return 0


def sample(root: Path) -> tuple[float, float]:
    """Seconds that a build waits for, after what is done beside the engine's work, and what of them is its own work."""
    project = Project(root, "kiro", tuple(_service(root, name) for name in _SERVICES))
    recorder = Recorder(project, "build", "unix:///var/run/docker.sock", _say)
    record = _record()
    recorder.prepare()
    time.sleep(0.2)  # the least that an engine takes for a build of nothing
    begun, idle = time.perf_counter(), time.thread_time()
    recorder.built(record)
    return time.perf_counter() - begun, time.thread_time() - idle


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _service(root: Path, name: str) -> Service:
    ecosystem = "cargo" if name == "backend" else "npm"
    return Service(name, root / name, f"kiro/{name}", ecosystem, None, root / name / "Dockerfile.fast")


def _record() -> BuildRecord:
    now = time.time()
    images = tuple(
        ImageRecord(name, f"kiro/{name}:dev", "Dockerfile.fast", (), "dev", tuple(_steps(name, now)))
        for name in _SERVICES
    )
    changes = tuple(
        ImageChange(name, "dev", Kind.SOURCE, "src/a changed", "src/a", "r") for name in _SERVICES
    )
    steps = tuple(step for image in images for step in image.steps)
    return BuildRecord(3.0, (), images, steps, 10**9, 10**8, changes, now - 3, 10_000)


def _steps(service: str, now: float) -> list[Step]:
    text = "RUN --mount=type=cache,id=kiro-x,target=/x " + "cargo something --with options && " * 10
    return [Step(service, f"stage{n % 10}", f"{text}{n}", n > 5, 0.1, now - 3, now) for n in range(_STEPS)]


if __name__ == "__main__":
    sys.exit(main())
