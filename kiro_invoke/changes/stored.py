"""Snapshots on disk: one file, columns of plain bytes, checked by a hash; a damaged one counts as absent."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from kiro_invoke.changes.snapshot import LATEST, Entry, Snapshot

#: Another version or byte order is another file, and counts as absent.
_MAGIC = f"kiro snapshots 1 {sys.byteorder}\n".encode()
_HASH_BYTES = 32
_HEX = 64


@dataclass(frozen=True)
class Stored:
    """Snapshots that belong together, with numbers about them."""

    snapshots: tuple[Snapshot, ...]
    numbers: Mapping[str, int] = field(default_factory=dict)


def save(path: Path, stored: Stored) -> None:
    """Replace the file in one step: written beside it, synced, renamed over it."""
    columns = [list(_columns(snapshot)) for snapshot in stored.snapshots]
    header = {
        "numbers": dict(stored.numbers),
        "revisions": [snapshot.revision for snapshot in stored.snapshots],
        "lengths": [[len(column) for column in one] for one in columns],
    }
    body = b"".join((json.dumps(header).encode(), b"\n", *chain.from_iterable(columns)))
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(body).digest())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(draft).unlink()
        raise


def load(path: Path) -> Stored | None:
    """What was saved; None if there is nothing, or nothing whole."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    start = len(_MAGIC) + _HASH_BYTES
    body = memoryview(data)[start:]
    if not data.startswith(_MAGIC) or hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        return None
    first = data.index(b"\n", start)
    header = json.loads(data[start:first])
    at, snapshots = first + 1, []
    for revision, lengths in zip(header["revisions"], header["lengths"], strict=True):
        columns = []
        for length in lengths:
            columns.append(data[at : at + length])
            at += length
        snapshots.append(_snapshot(columns, revision))
    return Stored(tuple(snapshots), header["numbers"])


def _columns(snapshot: Snapshot) -> Iterable[bytes]:
    entries = list(snapshot.entries.values())
    kinds, _, modes, sizes, mtimes, ctimes, inodes = zip(*entries, strict=True) if entries else ((),) * 7
    yield _texts(list(snapshot.entries))
    yield "".join(kinds).encode()
    yield bytes.fromhex(b"".join(entry.value for entry in entries if entry.kind != "l").decode())
    yield b"\0".join(entry.value for entry in entries if entry.kind == "l")
    yield array("I", modes).tobytes()
    yield _numbers((*sizes, *mtimes, *ctimes))
    yield array("Q", inodes).tobytes()
    yield _texts(list(snapshot.folders))
    yield array("I", snapshot.folders.values()).tobytes()


def _snapshot(columns: Sequence[bytes], revision: str) -> Snapshot:
    paths, kinds, digests, links, modes, numbers, inodes, folders, folder_modes = columns
    hexes = digests.hex().encode()
    files = iter([hexes[at : at + _HEX] for at in range(0, len(hexes), _HEX)])
    texts = iter(links.split(b"\0"))
    count = len(kinds)
    all_numbers = array("q", numbers)
    rows = zip(
        kinds.decode(),
        [next(texts) if kind == "l" else next(files) for kind in kinds.decode()],
        array("I", modes),
        all_numbers[:count],
        all_numbers[count : 2 * count],
        all_numbers[2 * count :],
        array("Q", inodes),
        strict=True,
    )
    return Snapshot(
        dict(zip(_paths(paths), map(Entry._make, rows), strict=True)),
        dict(zip(_paths(folders), array("I", folder_modes), strict=True)),
        revision,
    )


def _numbers(numbers: Sequence[int]) -> bytes:
    """A time that has no room (before 1677, after 2262) becomes the nearest that has: such a file is read again."""
    try:
        return array("q", numbers).tobytes()
    except OverflowError:
        return array("q", [max(-LATEST - 1, min(number, LATEST)) for number in numbers]).tobytes()


def _texts(paths: list[str]) -> bytes:
    return os.fsencode("\0".join(paths))


def _paths(column: bytes) -> list[str]:
    return os.fsdecode(column).split("\0") if column else []
