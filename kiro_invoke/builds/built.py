"""What each image was last built from: noted when a build has succeeded, for what comes after to be compared with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.builds.planner import Profile
from kiro_invoke.changes.snapshot import Snapshot
from kiro_invoke.changes.stored import load
from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.change import Classification, Kind
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


_PRIVATE = 0o600
#: What a damaged file can be met with. Then there is none.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Note:
    """What an image was built from, in short: `base` as base_parts tells it, `config` by file and hash."""

    revision: str
    base: Mapping[Part, str]
    config: Mapping[str, str]


@dataclass(frozen=True)
class Built:
    """All that is known of it. The fingerprint's values are hashes."""

    note: Note
    fingerprint: Fingerprint
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
    def parts(self) -> Path:
        return self.place / f"{self.mirror}-{self.profile}.built.parts.json"

    @property
    def snapshot(self) -> Path:
        return self.place / f"{self.mirror}-{self.profile}.built.snapshot"

    @property
    def record(self) -> Path:
        """The mirror's own record: what it holds now."""
        return self.place / f"{self.mirror}.snapshot"

    @property
    def is_of_the_record(self) -> bool:
        """Whether the mirror's record was not written since: then nothing at all was touched."""
        try:
            return self.snapshot.samefile(self.record)
        except OSError:
            return False


def read_note(shelf: Shelf) -> Note | None:
    """What was noted; None where nothing was, or by another version: it may have read manifests otherwise."""
    with suppress(*_DAMAGE):
        raw = json.loads(shelf.note.read_text(encoding="utf-8"))
        if raw["version"] == __version__:
            return Note(str(raw["revision"]), parts_of(raw["base"]), dict(raw["config"]))
    return None


def read_built(shelf: Shelf, note: Note | None) -> Built | None:
    """What belongs to a note; None where some of it is missing, or of another build."""
    stored = load(shelf.snapshot) if note else None
    if note is None or stored is None:
        return None
    with suppress(*_DAMAGE):
        raw = json.loads(shelf.parts.read_text(encoding="utf-8"))
        if stored.snapshots[0].revision == note.revision == raw["revision"]:
            kept = Fingerprint(parts_of(raw["parts"]), parts_of(raw["unseen"]), str(raw["doubt"]))
            return Built(note, kept, stored.snapshots[0])
    return None


def write_built(shelf: Shelf, note: Note, fingerprint: Fingerprint) -> None:
    """Note it, with the mirror's record as it is now: a link to that file, which is never written again, only replaced.

    The fingerprint's values are hashes. The note goes last: where this is torn, it does not fit the rest, and all
    counts as none.
    """
    draft = shelf.snapshot.with_name(f".{shelf.snapshot.name}.draft")
    with suppress(FileNotFoundError):
        draft.unlink()
    try:
        draft.hardlink_to(shelf.record)
    except OSError:  # a file system without such links
        shutil.copyfile(shelf.record, draft)
    draft.replace(shelf.snapshot)
    # of two links to one file, that did nothing and left both
    with suppress(FileNotFoundError):
        draft.unlink()
    parts = {
        "revision": note.revision,
        "doubt": fingerprint.doubt,
        "parts": rows_of(fingerprint.parts),
        "unseen": rows_of(fingerprint.unseen),
    }
    write_whole(shelf.parts, json.dumps(parts), mode=_PRIVATE)
    value = {
        "version": __version__,
        "revision": note.revision,
        "base": rows_of(note.base),
        "config": dict(note.config),
    }
    write_whole(shelf.note, json.dumps(value), mode=_PRIVATE)


def configuration(root: Path, names: Sequence[str] = CONFIGURATION) -> dict[str, str]:
    """The configuration files that are there, or others of the repository's files, with their contents' hashes."""
    found: dict[str, str] = {}
    for name in names:
        with suppress(OSError):
            if (root / name).is_file():
                found[name] = hashlib.sha256((root / name).read_bytes()).hexdigest()
    return found


def configuration_change(name: str, before: Container[str], now: Container[str]) -> Classification:
    """What is said of one of these files that changed; `before` and `now` are those that were and are there."""
    verb = "added" if name not in before else "changed" if name in now else "removed"
    return Classification("", Kind.CONFIG, name, f"{name} {verb}")


def rows_of(parts: Mapping[Part, str]) -> list[list[str]]:
    """Parts as JSON can hold them."""
    return [[part.file, part.what, value] for part, value in parts.items()]


def parts_of(rows: Iterable[Any]) -> dict[Part, str]:
    """Parts that were written so; ValueError or TypeError for anything else."""
    return {Part(str(file), str(what)): str(value) for file, what, value in rows}
