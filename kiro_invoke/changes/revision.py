"""A service as a git revision has it, to compare what lies in the folder with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kiro_invoke.changes.context import IGNORE_FILE, Rules
from kiro_invoke.changes.links import followed, following
from kiro_invoke.changes.objects import LINK, SUBMODULE, Item, Objects, tree_at
from kiro_invoke.changes.patterns import BadPattern, read_patterns
from kiro_invoke.changes.snapshot import Snapshot
from kiro_invoke.model.fingerprint import Tree


@dataclass(frozen=True)
class Revision:
    """A commit. `tree` is the project's folder in it ("" where it has none).

    `differing` are paths in the project whose files are not as it has them, as git says: what git takes for equal is
    taken from the folder, as a checkout would make it, whatever filters and line ends do. `submodules` are files in
    submodules that are as it has them.
    """

    objects: Objects
    tree: str
    differing: frozenset[str]
    submodules: frozenset[str] = frozenset()

    @cached_property
    def _items(self) -> Mapping[str, Item]:
        return self.objects.files(self.tree) if self.tree else {}

    @cached_property
    def _files(self) -> Tree:
        return tree_at(self.objects, self._items)

    def file(self, path: str) -> bytes | None:
        """A file of the project, as the commit has it; links are followed."""
        return self._files.read(path)

    def has(self, path: str) -> bool:
        """Whether there is a file or link of that name, readable or not."""
        return path in self._files.names

    def where(self, path: str) -> str | None:
        """Where a path leads, links followed; None where that is outside of the project."""
        return followed(path, self._link)

    def folders(self) -> dict[str, str]:
        """The folders at the root and links to folders, by name, with where they lead; "" is the root itself."""
        items = self.objects.tree(self.tree)
        led = {name: self.where(name) for name in items}
        found = {name: place for name, place in led.items() if place is not None and self._below(place)}
        return {"": "", **found}

    def names(self, folder: str) -> frozenset[str]:
        """The names of the files in a folder."""
        items = self.objects.tree(self._below(folder))
        return frozenset(name for name in items if self.file(_placed(folder, name)) is not None)

    def _below(self, folder: str) -> str:
        return self.objects.below(self.tree, folder)

    def _link(self, path: str) -> str | None:
        item = self._items.get(path)
        text = self.objects.blob(item.id) if item is not None and item.mode == LINK else None
        return None if text is None else os.fsdecode(text)

    def rules(self, folder: str, dockerfile: str, now: Rules) -> Rules:
        """The ignore rules that a build of the revision had; today's where no build of it was possible."""
        for place in (f"{dockerfile}{IGNORE_FILE}", _placed(folder, IGNORE_FILE)):
            text = self.file(place)
            if text is not None:
                try:
                    return Rules(read_patterns(text), Path(place))
                except BadPattern:
                    return now
        return Rules()

    def unreadable_rules(self, folder: str, dockerfile: str) -> str:
        """The ignore file that kept a build of the revision from being possible; "" where none did."""
        for place in (f"{dockerfile}{IGNORE_FILE}", _placed(folder, IGNORE_FILE)):
            text = self.file(place)
            if text is None and self.has(place):
                return place
            if text is not None:
                try:
                    read_patterns(text)
                except BadPattern:
                    return place
                return ""
        return ""

    def contents(
        self, folder: str, rules: Rules, now: Snapshot, there: Tree, reads: Callable[[str], bool]
    ) -> dict[str, object]:
        """What a build of a service would have got: by path, equal to what `now` has where git says so.

        Git goes by size and times. Files that dependencies can depend on (`reads`) are compared themselves: `there` has
        those of now.
        """
        tree = self.objects.below(self.tree, folder)
        found: dict[str, object] = {}
        for path, item in self.objects.files(tree).items():
            if item.mode != SUBMODULE and rules.lets_through(path):
                entry = now.entries.get(path)
                is_same = entry is not None and _placed(folder, path) not in self.differing
                if is_same and reads(path) and item.mode != LINK:
                    is_same = _is_alike(self.objects.blob(item.id), there.read(path))
                found[path] = entry.what if entry is not None and is_same else item
        for path, entry in now.entries.items() if self.submodules else ():
            if _placed(folder, path) in self.submodules:
                found[path] = entry.what
        # git knows of no folders: those of now are taken for those of then
        found.update((f"{path}/", mode) for path, mode in now.folders.items())
        return found

    def files(self, contents: Mapping[str, object], there: Tree) -> Tree:
        """What `contents` gave, as files that can be read."""

        def link(path: str) -> str | None:
            match contents.get(path):
                case Item(mode=mode, id=id):
                    text = self.objects.blob(id) if mode == LINK else None
                    return None if text is None else os.fsdecode(text)
                case ("l", bytes(value), _):
                    return os.fsdecode(value)
            return None

        def read(path: str) -> bytes | None:
            item = contents[path]
            return self.objects.blob(item.id) if isinstance(item, Item) else there.read(path)

        return following([path for path in contents if not path.endswith("/")], link, read)


def _is_alike(committed: bytes | None, now: bytes | None) -> bool:
    """Whether a file is as it was committed, however its lines end."""
    return committed == now or _lines(committed) == _lines(now)


def _lines(text: bytes | None) -> bytes | None:
    return text and text.replace(b"\r\n", b"\n")


def _placed(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
