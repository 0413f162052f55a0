"""What each image was last built from: noted when a build has succeeded, for what comes after to be compared with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.builds.planner import Profile
from kiro_invoke.changes.snapshot import Snapshot
from kiro_invoke.changes.stored import load
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.fingerprint import Fingerprint, Part
from kiro_invoke.version import __version__

#: Files at the repository's root that say what is built and run, and how.
CONFIGURATION = (
    "kiro.yaml",
    *(f"{name}{ending}" for name in ("compose", "docker-compose") for ending in (".yaml", ".yml")),
    *(f"compose.override{ending}" for ending in (".yaml", ".yml")),
    *(f"docker-compose.override{ending}" for ending in (".yaml", ".yml")),
    "Tiltfile",
)


@dataclass(frozen=True)
class Note:
    """What an image was built from, without its files: `base` as base_parts tells it, `config` by file and hash."""

    revision: str
    fingerprint: Fingerprint
    base: Mapping[Part, str]
    config: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """A note with the context's snapshot that belongs to it."""

    note: Note
    snapshot: Snapshot


@dataclass(frozen=True)
class Shelf:
    """Where the note of one image lies: beside the mirror that it is built from."""

    place: Path
    mirror: str
    profile: Profile

    @property
    def note(self) -> Path:
        return self.place / f"{self.mirror}-{self.profile}.built.json"

    @property
    def snapshot(self) -> Path:
        return self.place / f"{self.mirror}-{self.profile}.built.snapshot"

    @property
    def record(self) -> Path:
        """The mirror's own record: what it holds now."""
        return self.place / f"{self.mirror}.snapshot"


def read_note(shelf: Shelf) -> Note | None:
    """What was noted; None where nothing was, or by another version: it may have read manifests otherwise."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        raw = json.loads(shelf.note.read_text(encoding="utf-8"))
        if raw["version"] == __version__:
            parts, unseen, base = (_parts(raw[key]) for key in ("parts", "unseen", "base"))
            return Note(raw["revision"], Fingerprint(parts, unseen, raw["doubt"]), base, dict(raw["config"]))
    return None


def read_built(shelf: Shelf) -> Built | None:
    """The note and its snapshot; None where either is missing, or they are of two builds."""
    note = read_note(shelf)
    stored = load(shelf.snapshot) if note else None
    if note is None or stored is None or stored.snapshots[0].revision != note.revision:
        return None
    return Built(note, stored.snapshots[0])


def write_note(shelf: Shelf, note: Note) -> None:
    """Note it, with the mirror's record as it is now: a link to that file, which is never written again, only replaced.

    The snapshot goes first: torn between the two, the note does not fit it and counts as none.
    """
    draft = shelf.snapshot.with_name(f".{shelf.snapshot.name}.draft")
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        draft.hardlink_to(shelf.record)
    except OSError:  # a file system without such links
        shutil.copyfile(shelf.record, draft)
    # of two links to one file, rename does nothing and leaves both
    draft.replace(shelf.snapshot)
    with suppress(FileNotFoundError):
        draft.unlink()
    kept = note.fingerprint
    value = {
        "version": __version__,
        "revision": note.revision,
        "doubt": kept.doubt,
        "parts": _rows(kept.parts),
        "unseen": _rows(kept.unseen),
        "base": _rows(note.base),
        "config": dict(note.config),
    }
    write_whole(shelf.note, json.dumps(value))


def configuration(root: Path, *more: str) -> dict[str, str]:
    """The configuration files that are there, and `more` of the repository's files, with their contents' hashes."""
    found: dict[str, str] = {}
    for name in (*CONFIGURATION, *more):
        with suppress(OSError):
            found[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    return found


def _rows(parts: Mapping[Part, str]) -> list[list[str]]:
    return [[part.file, part.what, value] for part, value in parts.items()]


def _parts(rows: Iterable[Any]) -> dict[Part, str]:
    return {Part(str(file), str(what)): str(value) for file, what, value in rows}
