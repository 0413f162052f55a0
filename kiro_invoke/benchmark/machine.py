"""What a run was measured on, and how fast it is at a moment."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kiro_invoke.engine.protocol import Engine, Run
from kiro_invoke.version import __version__

_PROBED = b"\0" * (1 << 20)
_PROBE_ROUNDS = 48


def facts(engine: Engine, run: Run, root: Path, bases: Sequence[str]) -> dict[str, Any]:
    """Processor, cores, memory, versions, and which tree was measured."""
    return {
        **host(),
        "engine": engine.facts.version,
        "buildx": engine.facts.buildx,
        "base_images": list(bases),
        "revision": _git(run, root, "rev-parse", "HEAD"),
        "uncommitted": bool(_git(run, root, "status", "--porcelain")),
    }


def host() -> dict[str, Any]:
    """What is known of it without an engine."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "kiro": __version__,
    }


def words(machine: dict[str, Any]) -> str:
    """The machine in one line, for a person."""
    memory = machine.get("memory_bytes", 0) / 2**30
    return (
        f"{machine.get('processor') or machine.get('architecture', '')}, {machine.get('cores')} cores,"
        f" {memory:.0f} GiB, Linux {machine.get('kernel', '')}, Docker {machine.get('engine', '')},"
        f" buildx {machine.get('buildx', '')}"
    )


def probe() -> float:
    """Seconds that a fixed piece of work takes now: other load on the machine, or a slower clock, make it longer."""
    begun = time.perf_counter()
    told = hashlib.sha256()
    for _ in range(_PROBE_ROUNDS):
        told.update(_PROBED)
    return time.perf_counter() - begun


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


def _git(run: Run, root: Path, *arguments: str) -> str:
    """What git says; "" where it says nothing, or is not there."""
    try:
        done = run(["git", "--no-optional-locks", "-C", str(root), *arguments])
    except OSError:
        return ""
    return done.stdout.strip() if done.ok else ""
