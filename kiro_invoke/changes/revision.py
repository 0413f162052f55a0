"""A service as a git revision has it, to compare what lies in the folder with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.changes.context import IGNORE_FILE, Rules
from kiro_invoke.changes.links import following
from kiro_invoke.changes.objects import LINK, SUBMODULE, Item, Objects
from kiro_invoke.changes.patterns import BadPattern, read_patterns
from kiro_invoke.changes.snapshot import Snapshot
from kiro_invoke.model.fingerprint import Tree


@dataclass(frozen=True)
class Revision:
    """A commit's tree. `differing` are paths in the project whose files are not as it has them, as git says.

    What git takes for equal is taken from the folder: there it is as a checkout would make it, whatever filters and
    line ends do. `prefix` is the project's folder in the repository.
    """

    objects: Objects
    tree: str
    prefix: str
    differing: frozenset[str]

    def file(self, path: str) -> bytes | None:
        """A file of the project, as the commit has it."""
        folder, _, name = f"{self.prefix}/{path}".strip("/").rpartition("/")
        item = self.objects.tree(self.objects.below(self.tree, folder)).get(name)
        return self.objects.blob(item.id) if item is not None and item.mode != LINK else None

    def rules(self, folder: str, dockerfile: str, now: Rules) -> Rules:
        """The ignore rules that a build of the revision had: today's, if git says that they are the same."""
        places = (f"{dockerfile}{IGNORE_FILE}", _placed(folder, IGNORE_FILE))
        if self.differing.isdisjoint(places):
            return now
        for place in places:
            text = self.file(place)
            if text is not None:
                try:
                    return Rules(read_patterns(text), Path(place))
                except BadPattern:  # no build of that revision was possible
                    return now
        return Rules()

    def contents(
        self, folder: str, rules: Rules, now: Snapshot, there: Tree, reads: Callable[[str], bool]
    ) -> dict[str, object]:
        """What a build of a service would have got: by path, equal to what `now` has where git says so.

        Git goes by size and times. Files that dependencies can depend on (`reads`) are compared themselves: `there` has
        those of now.
        """
        tree = self.objects.below(self.tree, f"{self.prefix}/{folder}")
        found: dict[str, object] = {}
        for path, item in self.objects.files(tree).items():
            if item.mode != SUBMODULE and rules.lets_through(path):
                entry = now.entries.get(path)
                is_same = entry is not None and _placed(folder, path) not in self.differing
                if is_same and reads(path) and item.mode != LINK:
                    is_same = _is_alike(self.objects.blob(item.id), there.read(path))
                found[path] = entry.what if entry is not None and is_same else item
        found.update(self._of_submodules(folder, tree, now))
        # git knows of no folders: those of now are taken for those of then
        found.update((path, mode) for path, mode in now.contents.items() if path.endswith("/"))
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

    def _of_submodules(self, folder: str, tree: str, now: Snapshot) -> Iterator[tuple[str, object]]:
        """Git tells of a submodule as a whole whether it is the same."""
        same = [
            f"{path}/"
            for path in self.objects.submodules(tree)
            if _placed(folder, path) not in self.differing
        ]
        for path, entry in now.entries.items() if same else ():
            if path.startswith(tuple(same)):
                yield path, entry.what


def _is_alike(committed: bytes | None, now: bytes | None) -> bool:
    """Whether a file is as it was committed, however its lines end."""
    return committed == now or _lines(committed) == _lines(now)


def _lines(text: bytes | None) -> bytes | None:
    return text and text.replace(b"\r\n", b"\n")


def _placed(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
