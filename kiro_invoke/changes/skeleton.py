"""The skeleton of a context: what `cargo chef prepare` can depend on, kept in a folder of its own beside the mirror.

All folders, links and names, and the contents of manifests; other files are empty, and modes say nothing. So an edit
of a source changes nothing here, and the engine has the recipe at once. Where a link may lead cargo to a manifest of
another name, all contents are kept. `kiro-fresh skeleton` makes the same of a context within a plain build: the engine
compares what it mounts by content, and both share their layers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from kiro_invoke.changes.mirror import (
    NEWEST,
    Mirror,
    Mirrored,
    drafting,
    intact,
    opened,
    standing_in,
    writing,
)
from kiro_invoke.changes.reconcile import carry_out, plan
from kiro_invoke.changes.snapshot import NOTHING, Entry, Snapshot
from kiro_invoke.changes.stored import Stored, load, save
from kiro_invoke.model.errors import ConfigError

#: Not the root of what is sent: there the engine's client would follow a `.dockerignore` of the context.
_TOP = "skeleton"
_EMPTY = hashlib.sha256(b"").hexdigest().encode()
_FILE_MODE = 0o644
_LINK_MODE = 0o777
_FOLDER_MODE = 0o755
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def skeleton_of(seen: Snapshot, last: Mapping[str, Entry]) -> Snapshot:
    """What the skeleton of that context holds. Pure. What is the same in `last` is that entry, others have no hints."""
    entries: dict[str, Entry] = {}
    keeps_all = any(entry.kind == "l" and _may_lead_to_manifest(path) for path, entry in seen.entries.items())
    for path, entry in seen.entries.items():
        inner = f"{_TOP}/{path}"
        kind = "l" if entry.kind == "l" else "f"
        value = entry.value if kind == "l" or keeps_all or keeps_content(path) else _EMPTY
        old = last.get(inner)
        if old is not None and old.value == value and old.kind == kind:
            entries[inner] = old
        else:
            entries[inner] = Entry(kind, value, _LINK_MODE if kind == "l" else _FILE_MODE, 0, 0, 0, 0)
    folders = dict.fromkeys((_TOP, *(f"{_TOP}/{path}" for path in seen.folders)), _FOLDER_MODE)
    return Snapshot(entries, folders, "")


def keeps_content(path: str) -> bool:
    """Whether a recipe can depend on this file's content, and not on its name alone."""
    return path.endswith((".toml", ".lock")) or f"/{path}".endswith(("/rust-toolchain", "/.cargo/config"))


def _may_lead_to_manifest(link: str) -> bool:
    return keeps_content(link) or f"/{link}".endswith("/.cargo")


def refresh_skeleton(mirror: Mirror, mirrored: Mirrored, *, now: int) -> Path:
    """Bring the skeleton of a mirror that is held and refreshed up to date, as the mirror itself is: its folder."""
    kept = Mirror(mirror.place, f"{mirror.name}-skeleton")
    stored = load(kept.record) or Stored((NOTHING,), {NEWEST: 0})
    (copies,) = stored.snapshots
    with writing(kept.place), ExitStack() as stack:
        standing = standing_in(kept, copies)
        last = intact(copies, standing)
        wanted = skeleton_of(mirrored.seen, last.entries)
        drafts = drafting(stack, kept, standing, last, now=now, newest=stored.numbers[NEWEST])
        work = plan(wanted, last, standing, ())
        source = opened(stack, mirror.folder)
        for path in work.install:
            entry = wanted.entries[path]
            if entry.kind != "l":
                drafts.write(path, _FILE_MODE, _content(source, path, entry.value, mirror))
        left = carry_out(work, wanted, copies, drafts)
        if left is not copies:
            save(kept.record, Stored((left,), {NEWEST: drafts.stamp}))
    return kept.folder


def _content(source: int, path: str, value: bytes, mirror: Mirror) -> bytes:
    """The content of that hash, as it lies in the mirror: recorded here by its hash, another would stay for good."""
    if value == _EMPTY:
        return b""
    inner = path.removeprefix(f"{_TOP}/")
    with os.fdopen(os.open(inner, _SOURCE, dir_fd=source), "rb") as file:
        content = file.read()
    if hashlib.sha256(content).hexdigest().encode() != value:
        raise ConfigError(
            "somebody changed it while a build held it", file=str(mirror.folder / inner), fix="build again"
        )
    return content
