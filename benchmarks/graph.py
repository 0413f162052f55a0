"""How long the build graph of many services takes to plan: configuration, detection, Dockerfiles, targets, definition.

Seconds are the processor's, for planning waits for nothing: they are the same on a busy machine.

python -m benchmarks.graph --services 200 --json graph.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kiro_invoke import config
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.planner import Profile, plan_everything
from kiro_invoke.cache import warm
from kiro_invoke.engine import process
from kiro_invoke.scaffold.images import PageImages, RustImages
from kiro_invoke.scaffold.rendering import rendered

TARGET_SECONDS = 2.0
_RUNS = 5
_NAME = "service-nnn"
_LOCK = json.dumps({"lockfileVersion": 3, "packages": {}})


def write_services(root: Path, count: int, *, listed: bool = True) -> None:
    """A repository of `count` services as `kiro init` makes them: of Rust and pages in turns.

    Without `listed` kiro.yaml names none, and they are detected.
    """
    templates = {kind: _texts(kind) for kind in ("rust", "vite")}
    for number in range(count):
        folder = root / f"service-{number:03}"
        folder.mkdir(parents=True)
        for name, text in templates["vite" if number % 2 else "rust"].items():
            (folder / name).write_text(text.replace(_NAME, folder.name), encoding="utf-8")
    names = "".join(f"  - name: service-{number:03}\n" for number in range(count))
    services = f"services:\n{names}" if listed else ""
    (root / "kiro.yaml").write_text(f"version: 1\nproject: shop\n{services}")


def _texts(kind: str) -> dict[str, str]:
    """The files of a service that is called _NAME."""
    mounts = f"shop-{_NAME}"
    images = RustImages(mounts, _NAME, _NAME, port=8080) if kind == "rust" else PageImages(mounts)
    manifest = {"package.json": json.dumps({"name": _NAME}), "package-lock.json": _LOCK}
    if kind == "rust":
        manifest = {
            "Cargo.toml": f'[package]\nname = "{_NAME}"\nversion = "0.1.0"\n',
            "Cargo.lock": "version = 4\n",
        }
    dockerfiles = {
        each: rendered(f"{kind}.{each}", images.values) for each in ("Dockerfile", "Dockerfile.fast")
    }
    return {".dockerignore": "**/node_modules\n**/target\n", **manifest, **dockerfiles}


def planned(root: Path) -> str:
    """The definition that builds every stage of every service."""
    project = config.load(root, {})
    recipes = warm.read_recipes(project, tuple(Profile))
    prepared = warm.prepare(project, recipes, lambda some: plan_everything(some, "all"), ())
    return prepared.without_foreign_proofs().definition


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--services", type=int, action="append")
    arguments.add_argument("--json", type=Path)
    wished = arguments.parse_args()
    found: dict[str, list[float]] = {}
    for count in wished.services or [200]:
        for listed in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder, "shop")
                write_services(root, count, listed=listed)
                how = f"{count} services, {'listed' if listed else 'detected'}"
                found[f"{how}: planned in memory"] = timed(planned, root)
                found[f"{how}: kiro warm-cache --dry-run"] = timed(_dry, root)
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        share = f"{middle / TARGET_SECONDS:.0%} of {TARGET_SECONDS:.0f} s"
        print(f"  {name:<52} {middle:6.2f} s  ({share}; load {os.getloadavg()[0]:.1f})")
    if wished.json:
        wished.json.write_text(json.dumps({"seconds": found}, indent=2))


def timed(work: Callable[[Path], object], root: Path) -> list[float]:
    """Seconds of each run; no Dockerfile is known from the one before."""
    taken = []
    for _ in range(_RUNS):
        parse.cache_clear()
        begun = _spent()
        work(root)
        taken.append(round(_spent() - begun, 3))
    return taken


def _spent() -> float:
    """Seconds that processors gave this process and those that it started."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def _dry(root: Path) -> None:
    argv = ["env", "--chdir", str(root), sys.executable, "-m", "kiro_invoke.cli", "warm-cache", "--dry-run"]
    done = process.run(argv, env={"PYTHONPATH": str(Path(__file__).parents[1])})
    if not done.ok:
        raise SystemExit(done.stderr)


if __name__ == "__main__":
    main()
