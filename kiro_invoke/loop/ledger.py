"""What each container holds, by content: kept on disk, so that it outlives this process.

Containers keep synced files as long as they exist, and a new one has the image's. So it is told by the container's id.
Before files are sent they are put in doubt, and the doubt is written: whatever ends this process, the next one knows.
It is not synced to the disk: a machine that loses power loses its containers' processes too, and what the files then
are is asked of the container (see verify).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kiro_invoke.builds.built import Shelf, parts_of, rows_of
from kiro_invoke.changes.classify import Side
from kiro_invoke.changes.stored import load
from kiro_invoke.model.fingerprint import Fingerprint
from kiro_invoke.version import __version__

_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Held:
    """What a container holds: `side`, but for the paths in `doubt`. `served`: what runs in it is made of all that.

    `owes_install`: dependencies changed, and it is not certain that they were installed.
    """

    container: str
    image: str
    side: Side
    doubt: frozenset[str] = frozenset()
    served: bool = True
    owes_install: bool = False


@dataclass
class Ledger:
    """The record of one service's container, in the folder `place`."""

    place: Path
    service: str
    #: What the image held, of which revision, and where the container differs from that (None: it lacks it).
    _base: Mapping[str, object] = field(default_factory=dict)
    _revision: str = ""
    _overlay: dict[str, object] = field(default_factory=dict)

    def adopt(self, container: str, image: str, side: Side, revision: str, shelf: Shelf) -> Held:
        """A container that holds what its image was built from: `side`, as the note in `shelf` has it."""
        self._base, self._revision, self._overlay = side.contents, revision, {}
        draft = self._snapshot.with_name(f".{self._snapshot.name}.draft")
        with suppress(FileNotFoundError):
            draft.unlink()
        self.place.mkdir(parents=True, exist_ok=True)
        # the note's own file is never written again, only replaced
        try:
            draft.hardlink_to(shelf.snapshot)
        except OSError:
            draft.write_bytes(shelf.snapshot.read_bytes())
        draft.replace(self._snapshot)
        with suppress(FileNotFoundError):
            draft.unlink()
        return self._written(Held(container, image, side))

    def recall(
        self, container: str, image: str, like: Mapping[str, object] = MappingProxyType({})
    ) -> Held | None:
        """What was written of that very container; None where nothing was, or not by this version.

        It is made of the objects of `like` where they are equal.
        """
        with suppress(*_DAMAGE):
            raw = json.loads(self._file.read_text(encoding="utf-8"))
            stored = load(self._snapshot)
            is_ours = [raw["version"], raw["container"], raw["image"]] == [__version__, container, image]
            if not is_ours or stored is None or stored.snapshots[0].revision != raw["revision"]:
                return None
            base = Side(stored.snapshots[0].contents, Fingerprint())
            self._base, self._revision = sharing(base, like).contents, stored.snapshots[0].revision
            self._overlay = {str(path): _what(value) for path, value in raw["overlay"].items()}
            doubt, served, owes = frozenset(raw["doubt"]), bool(raw["served"]), bool(raw["owes_install"])
            return Held(container, image, self._side(raw), doubt, served, owes)
        return None

    def doubt(self, held: Held, paths: Iterable[str], *, installs: bool = False) -> Held:
        """These paths are about to change; with `installs`, dependencies among them."""
        owes = held.owes_install or installs
        doubt = held.doubt | frozenset(paths)
        return self._written(replace(held, doubt=doubt, served=False, owes_install=owes))

    def settle(self, held: Held, side: Side, changed: Iterable[str]) -> Held:
        """They have: the container holds `side` now, which differs in `changed` from what it held."""
        for path in changed:
            now = side.contents.get(path)
            if now == self._base.get(path):
                self._overlay.pop(path, None)
            else:
                self._overlay[path] = now
        return self._written(replace(held, side=side, doubt=frozenset()))

    def serve(self, held: Held) -> Held:
        """What runs in it is made of what it holds."""
        return self._written(replace(held, served=True, owes_install=False))

    @property
    def _file(self) -> Path:
        return self.place / f"{self.service}.json"

    @property
    def _snapshot(self) -> Path:
        return self.place / f"{self.service}.snapshot"

    def _side(self, raw: Mapping[str, Any]) -> Side:
        contents = {path: what for path, what in self._base.items() if path not in self._overlay}
        contents |= {path: what for path, what in self._overlay.items() if what is not None}
        kept = raw["fingerprint"]
        fingerprint = Fingerprint(parts_of(kept["parts"]), parts_of(kept["unseen"]), str(kept["doubt"]))
        return Side(contents, fingerprint, parts_of(raw["base"]))

    def _written(self, held: Held) -> Held:
        value = {
            "version": __version__,
            "container": held.container,
            "image": held.image,
            "revision": self._revision,
            "served": held.served,
            "owes_install": held.owes_install,
            "doubt": sorted(held.doubt),
            "overlay": {path: _plain(what) for path, what in self._overlay.items()},
            "base": rows_of(held.side.base),
            "fingerprint": {
                "parts": rows_of(held.side.fingerprint.parts),
                "unseen": rows_of(held.side.fingerprint.unseen),
                "doubt": held.side.fingerprint.doubt,
            },
        }
        draft = self._file.with_name(f".{self._file.name}.draft")
        self.place.mkdir(parents=True, exist_ok=True)  # somebody may have removed the state folder
        draft.write_text(json.dumps(value), encoding="utf-8")
        draft.replace(self._file)
        return held


def sharing(side: Side, like: Mapping[str, object]) -> Side:
    """The same side, made of the other's objects where they are equal: of a large tree one copy is enough."""
    contents = {path: what for path, what in like.items() if side.contents.get(path) == what}
    contents.update({path: what for path, what in side.contents.items() if path not in contents})
    return Side(contents, side.fingerprint, side.base)


def _plain(what: object) -> object:
    """A snapshot's idea of a path, as JSON can hold it."""
    if isinstance(what, tuple):
        kind, value, mode = what
        return [kind, os.fsdecode(value), mode]
    return what


def _what(plain: object) -> object:
    match plain:
        case [str(kind), str(value), int(mode)]:
            return kind, os.fsencode(value), mode
        case int() | None:
            return plain
    raise ValueError(plain)
