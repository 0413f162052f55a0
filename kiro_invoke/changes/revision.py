"""A service as a git revision has it, to compare what lies in the folder with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.changes.context import IGNORE_FILE, Rules
from kiro_invoke.changes.dependencies import tree_of
from kiro_invoke.changes.links import followed
from kiro_invoke.changes.objects import Item, Objects
from kiro_invoke.changes.patterns import BadPattern, read_patterns
from kiro_invoke.changes.snapshot import Snapshot
from kiro_invoke.model.fingerprint import Tree

_LINK = "120000"


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
        return self.objects.blob(item.id) if item is not None else None

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

    def contents(self, folder: str, rules: Rules, now: Snapshot) -> dict[str, object]:
        """What a build of a service would have got: by path, equal to what `now` has where git says so."""
        tree = self.objects.below(self.tree, f"{self.prefix}/{folder}")
        found: dict[str, object] = {}
        for path, item in self.objects.files(tree).items():
            if rules.lets_through(path):
                entry = now.entries.get(path)
                is_same = entry is not None and _placed(folder, path) not in self.differing
                found[path] = entry.what if entry is not None and is_same else item
        found.update(self._of_submodules(folder, tree, now))
        return found

    def files(self, folder: str, rules: Rules, root: Path, now: Snapshot) -> Tree:
        """The same as files that can be read. `root` is the service's folder."""
        contents = self.contents(folder, rules, now)
        there = tree_of(root, now.entries)
        return Tree(contents, _Reader(self.objects, contents, there.read))

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


@dataclass(frozen=True)
class _Reader:
    objects: Objects
    contents: Mapping[str, object]
    there: Callable[[str], bytes | None]

    def __call__(self, path: str) -> bytes | None:
        found = followed(path, self._link)
        if found is None or found not in self.contents:
            return None
        item = self.contents[found]
        return self.objects.blob(item.id) if isinstance(item, Item) else self.there(found)

    def _link(self, path: str) -> str | None:
        match self.contents.get(path):
            case Item(mode=mode, id=id):
                text = self.objects.blob(id) if mode == _LINK else None
                return None if text is None else text.decode(errors="surrogateescape")
            case ("l", bytes(value), _):
                return value.decode(errors="surrogateescape")
        return None


def _placed(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
