"""What a run was measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.engine import BenchEngine
from kiro_invoke.benchmark.machine import host
from kiro_invoke.engine import process

_HOLDS = "command -v rustc >/dev/null && rustc --version; command -v node >/dev/null && node --version; true"


def facts(engine: BenchEngine, repository: Path, bases: Sequence[str]) -> dict[str, Any]:
    """Cores, memory, versions, and which tree was measured."""
    return {
        **host(),
        "engine": engine.must("version", "--format", "{{.Server.Version}}").strip(),
        "buildx": engine.must("buildx", "version").strip(),
        "base_images": {ref: _holds(engine, ref) for ref in bases},
        "revision": _git(repository, "rev-parse", "HEAD"),
        "uncommitted": bool(_git(repository, "status", "--porcelain", "--", ".", ":!benchmarks")),
    }


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def _holds(engine: BenchEngine, ref: str) -> str:
    """The toolchain in an image, if there is one; its id."""
    said = engine.docker("run", "--rm", "--network=none", "--entrypoint", "sh", ref, "-c", _HOLDS).stdout
    return f"{said.strip()} {engine.must('image', 'inspect', '--format', '{{.Id}}', ref).strip()}".strip()


def _git(repository: Path, *arguments: str) -> str:
    return process.run(["git", "-C", str(repository), *arguments]).stdout.strip()
