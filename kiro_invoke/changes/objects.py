"""Git's objects, read by their ids: commits, trees, and what two trees do not have in common."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from kiro_invoke.changes.links import following
from kiro_invoke.model.fingerprint import Tree

#: Gives an object's kind ("commit", "tree", "blob") and content by its name or id; None if there is none.
Read = Callable[[str], tuple[str, bytes] | None]

_PARENT = re.compile(rb"^parent ([0-9a-f]+)$", re.MULTILINE)
_TREE = re.compile(rb"^tree ([0-9a-f]+)$", re.MULTILINE)
_FOLDER, LINK, SUBMODULE = "40000", "120000", "160000"
_KEPT_TREES = 1 << 16
_KEPT_BLOBS, _SMALL = 1 << 12, 1 << 14


class Item(NamedTuple):
    """What a tree holds under a name: git's mode in octal digits, and the object's id."""

    mode: str
    id: str


#: A path, and what it is on either side.
Changed: TypeAlias = tuple[str, Item | None, Item | None]


@dataclass(frozen=True)
class Commit:
    """A commit: its tree, and its first parent ("" for a root commit)."""

    id: str
    tree: str
    parent: str


class Objects:
    """What a repository holds. Trees are kept: neighbouring commits share most of them."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self.tree = lru_cache(maxsize=_KEPT_TREES)(self._tree)
        self._blobs: dict[str, bytes] = {}
        self.files = lru_cache(maxsize=1 << 12)(self._files)

    def commit(self, name: str) -> Commit | None:
        """A commit by its id; None if it is not here."""
        found = self._read(f"{name}^{{commit}}")
        if found is None or found[0] != "commit":
            return None
        header = found[1].partition(b"\n\n")[0]
        tree, parent = _TREE.search(header), _PARENT.search(header)
        return Commit(name, tree[1].decode() if tree else "", parent[1].decode() if parent else "")

    def blob(self, id: str) -> bytes | None:
        """A file's content. Small ones are kept: manifests, which stay the same in most commits."""
        if id in self._blobs:
            return self._blobs[id]
        found = self._read(id)
        if found is None or found[0] != "blob":
            return None
        if len(found[1]) <= _SMALL:
            if len(self._blobs) >= _KEPT_BLOBS:
                self._blobs.clear()
            self._blobs[id] = found[1]
        return found[1]

    def below(self, tree: str, folder: str) -> str:
        """The id of a folder's tree in another, by its path; "" where there is none."""
        for name in filter(None, folder.split("/")):
            item = self.tree(tree).get(name) if tree else None
            tree = item.id if item is not None and item.mode == _FOLDER else ""
        return tree

    def changes(self, before: str, after: str, prefix: str = "") -> Iterator[Changed]:
        """Every path that two trees do not have in common, with what it is on either side; folders are walked."""
        if before == after:
            return
        old, new = self.tree(before), self.tree(after)
        for name in sorted(old.keys() | new.keys()):
            was, is_ = old.get(name), new.get(name)
            if was == is_:
                continue
            path = prefix + name
            if _FOLDER in (was and was.mode, is_ and is_.mode):
                yield from self.changes(_folder(was), _folder(is_), f"{path}/")
            if _file(was) or _file(is_):
                yield path, _file(was), _file(is_)

    def submodules(self, tree: str) -> dict[str, str]:
        """All submodules below a tree: path -> the commit that it has."""
        files = self.files(tree) if tree else {}
        return {path: item.id for path, item in files.items() if item.mode == SUBMODULE}

    def _tree(self, id: str) -> Mapping[str, Item]:
        found = self._read(id) if id else None
        return dict(_items(found[1], len(id) // 2)) if found and found[0] == "tree" else {}

    def _files(self, tree: str) -> Mapping[str, Item]:
        """All files and links below a tree, by path; submodules too, of which nothing can be read."""
        files: dict[str, Item] = {}
        for name, item in self.tree(tree).items():
            if item.mode == _FOLDER:
                files.update({f"{name}/{path}": inner for path, inner in self.files(item.id).items()})
            else:
                files[name] = item
        return files


def tree_at(objects: Objects, files: Mapping[str, Item]) -> Tree:
    """Files of a commit, by path, as a tree that is read from the repository."""

    def link(path: str) -> str | None:
        item = files.get(path)
        text = objects.blob(item.id) if item is not None and item.mode == LINK else None
        return None if text is None else os.fsdecode(text)

    return following(files, link, lambda path: objects.blob(files[path].id))


def _folder(item: Item | None) -> str:
    return item.id if item is not None and item.mode == _FOLDER else ""


def _file(item: Item | None) -> Item | None:
    return None if item is None or item.mode == _FOLDER else item


def _items(data: bytes, size: int) -> Iterator[tuple[str, Item]]:
    """The records of a tree object: MODE SPACE NAME NUL ID, the id as `size` bytes."""
    at = 0
    while at < len(data):
        space = data.index(b" ", at)
        end = data.index(b"\0", space)
        mode, name = data[at:space].decode(), data[space + 1 : end].decode(errors="surrogateescape")
        at = end + 1 + size
        yield name, Item(mode, data[end + 1 : at].hex())
