"""How much room there is on the engine's disk, where that is this machine's."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.model.errors import EngineError

#: In the state folder: where each engine keeps its data. To ask it takes 10 to 45 ms, a tenth of a build that has
#: nothing to do.
ROOTS = "engine-roots.json"
_ASKED_EVERY = 86_400.0


@dataclass(frozen=True)
class Room:
    """What is free on the engine's disk, in bytes, for those who are not root. `root` is its data folder.

    `files` is how many more files it can hold, None where it does not tell.
    """

    root: str
    free: int
    files: int | None = None

    def __str__(self) -> str:
        return f"{told_bytes(self.free)} free on the engine's disk ({self.root})"


def room_of(engine: Engine, state: Path, *, now: Callable[[], float] = time.time) -> Room | None:
    """What is free on the engine's disk; None where that is not this machine's, or may not be looked at."""
    root = engine_root(engine, state / ROOTS, now())
    if not root:
        return None
    with suppress(OSError):
        found = os.statvfs(root)
        # some file systems count no files
        return Room(root, found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)
    return None


def engine_root(engine: Engine, file: Path, now: float) -> str:
    """The engine's data folder, "" where that is no folder of this machine. Asked once a day, or when it is gone."""
    key = f"{engine.facts.address} {engine.facts.version}"
    known = _read(file)
    with suppress(KeyError, TypeError, ValueError):
        root, asked = str(known[key]["root"]), float(known[key]["asked"])
        if 0 <= now - asked < _ASKED_EVERY and (not root or os.path.lexists(root)):
            return root
    try:
        told = engine.info()
    except EngineError:
        return ""
    # where it may not even be looked for, nothing is gained by asking at each build
    root = told.root if told.is_here and os.path.lexists(told.root) else ""
    with suppress(OSError):
        write_whole(file, json.dumps({**known, key: {"root": root, "asked": now}}))
    return root


def _read(file: Path) -> dict[str, Mapping[str, str | float]]:
    with suppress(OSError, ValueError, RecursionError):
        raw = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(raw, dict):
            return raw
    return {}
