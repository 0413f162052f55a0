"""How a build is asked for and timed: through the tool, through plain Docker, or by cargo in a container."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.engine import BenchEngine
from benchmarks.trees import Tree
from benchmarks.variants import Door, Variant
from kiro_invoke.engine import process
from kiro_invoke.model.errors import KiroError

_CARGO = "cargo build --workspace --bins --locked"
#: As kiro.yaml names it: the tool's development images are named after it.
_PROJECT = "kiro"
_MARK = "kiro-bench-nanoseconds"
#: A build that takes longer, in seconds, hangs: its sample is a failure.
_HANGS = 1800.0


@dataclass(frozen=True)
class Timed:
    """A build that ended: wall seconds and what is known of its stages, or None and its last words if it failed."""

    seconds: float | None
    detail: str = ""


class Builder:
    """Builds variants of one tree on one engine."""

    def __init__(
        self, engine: BenchEngine, tree: Tree, repository: Path, bases: Sequence[str], ca_bundle: Path | None
    ) -> None:
        self.engine = engine
        self.tree = tree
        self._repository = repository
        self._bases = bases
        self._ca_bundle = ca_bundle
        self._containers: dict[Variant, _Container] = {}

    def build(self, variant: Variant) -> Timed:
        if variant.door is Door.CARGO:
            return self._container(variant).build()
        argv = self._plain(variant) if variant.door is Door.PLAIN else self._kiro(variant)
        begun = time.monotonic()
        done = process.run(argv, env=self.engine.env, timeout=_HANGS)
        seconds = time.monotonic() - begun
        if not done.ok:
            return Timed(None, done.stderr[-2000:])
        return Timed(seconds, stages_that_ran(done.stdout) if variant.door is Door.KIRO else "")

    def stop_containers(self) -> None:
        """Remove the containers that cargo was asked in."""
        for container in self._containers.values():
            container.remove()
        self._containers.clear()

    def _plain(self, variant: Variant) -> list[str]:
        argv = ["docker", "buildx", "build", "--builder", "default", "--provenance=false", "--progress=plain"]
        if self._ca_bundle:
            argv += ["--secret", f"id=ca_bundle,src={self._ca_bundle}"]
        folder = self._repository
        if variant.dockerfile.startswith(variant.service):
            folder = self.tree.work
            for ref in self._bases:
                argv += ["--build-context", f"{ref}=docker-image://{apart(ref)}"]
        argv += ["--tag", variant.tag, "--file", str(folder / variant.dockerfile)]
        return [*argv, str(self.tree.work / variant.service)]

    def _kiro(self, variant: Variant) -> list[str]:
        prod = ["--prod"] if variant.is_prod else []
        kiro = [sys.executable, "-m", "kiro_invoke.cli", "build", "--service", variant.service, *prod]
        return ["env", f"--chdir={self.tree.work}", *kiro, "--format", "json"]

    def _container(self, variant: Variant) -> _Container:
        if variant not in self._containers:
            made = process.run(self._kiro(variant), env=self.engine.env, timeout=_HANGS)
            if not made.ok:
                raise KiroError(f"{variant.dockerfile} does not build: {made.stderr[-2000:]}")
            self._containers[variant] = _Container(self.engine, variant, self.tree)
        return self._containers[variant]


def stages_that_ran(answer: str) -> str:
    """From the tool's JSON answer: each stage that was not cached and the seconds of its steps."""
    stages = (stage for service in json.loads(answer)["services"] for stage in service["stages"])
    return ", ".join(f"{stage['name']} {stage['seconds']:.1f} s" for stage in stages if not stage["cached"])


def apart(ref: str) -> str:
    """The name of a base image that only plain builds stand on.

    The tool's builds share their layers with plain builds of the same Dockerfile, but not their mounts: had one
    built what the other is timed with next, the other would find layers without the mounts that made them.
    """
    return f"kiro-bench/apart/{ref}"


def make_apart(engine: BenchEngine, bases: Sequence[str]) -> tuple[str, ...]:
    """Make the base images of plain builds: the same, but for one more file."""
    for ref in bases:
        text = f"FROM {ref}\nCOPY <<EOF /etc/kiro-bench\nEOF\n"
        argv = [
            "docker",
            "buildx",
            "build",
            "--builder",
            "default",
            "--provenance=false",
            "--tag",
            apart(ref),
            "-",
        ]
        made = process.run(argv, stdin=text, env=engine.env)
        if not made.ok:
            raise KiroError(f"{apart(ref)} does not build: {made.stderr[-500:]}")
    return tuple(apart(ref) for ref in bases)


class _Container:
    """A container of a development image, in which cargo finds its target warm."""

    def __init__(self, engine: BenchEngine, variant: Variant, tree: Tree) -> None:
        self._engine = engine
        self._service = variant.service
        self._tree = tree
        self._held = tree.edited(variant.service)
        argv = ("run", "--detach", "--rm", "--init", "--entrypoint", "sleep")
        self._id = engine.must(*argv, f"{_PROJECT}/{self._service}:dev", "infinity").strip()

    def build(self) -> Timed:
        """Bring its sources to the tree's state and run cargo; the time of cargo alone."""
        edited = self._tree.edited(self._service)
        wanted = {**self._tree.texts(self._service, sorted(self._held)), **edited}
        for file, text in wanted.items():
            if self._held.get(file) != text:
                self._put(file, text)
        self._held = wanted
        script = f"b=$(date +%s%N); {_CARGO} || exit; e=$(date +%s%N); echo {_MARK} $((e - b))"
        done = self._engine.docker("exec", self._id, "sh", "-c", script)
        if not done.ok:
            return Timed(None, done.stderr[-2000:])
        return Timed(int(done.stdout.split(_MARK)[1]) / 1e9)

    def remove(self) -> None:
        self._engine.docker("rm", "--force", self._id)

    def _put(self, file: str, text: str) -> None:
        argv = ["docker", "exec", "--interactive", self._id, "sh", "-c", 'cat >"$1"', "sh", file]
        done = process.run(argv, stdin=text, env=self._engine.env)
        if not done.ok:
            raise KiroError(f"cannot put {file} into a container: {done.stderr.strip()}")
