"""What an earlier setup added to this machine, as it noted it. Every command asks; few set anything up."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

STATE_FILE = "/var/lib/kiro-invoke/setup.json"


@dataclass(frozen=True)
class Installed:
    """What a setup adds, noted before it does: packages and groups that were absent, files, and
    `members`, users who joined the group. It is `complete` when all of it was added.

    `gc` is the `builder.gc` (JSON) that `doctor --fix` put into the engine's daemon.json, or ""."""

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    sudo: bool = False
    complete: bool = False
    members: tuple[str, ...] = ()
    gc: str = ""


def read_state(path: Path = Path(STATE_FILE)) -> Installed | None:
    """What an earlier setup added here, or None."""
    try:
        raw = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(raw, dict):
        return None
    return Installed(
        packages=tuple(raw.get("packages", ())),
        files=tuple(raw.get("files", ())),
        groups=tuple(raw.get("groups", ())),
        sudo=bool(raw.get("sudo")),
        complete=bool(raw.get("complete")),
        members=tuple(raw.get("members", ())),
        gc=str(raw.get("gc", "")),
    )
