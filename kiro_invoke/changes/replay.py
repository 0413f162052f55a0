"""Replay history: for each commit, whether dependencies really changed, and what a glob would have said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.changes.objects import LINK, SUBMODULE, Changed, Commit, Item, Objects, tree_at
from kiro_invoke.ecosystems.registry import Inputs
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.fingerprint import Fingerprint

#: What the usual rule takes for a changed dependency, wherever it lies.
GLOB_NAMES = frozenset(
    {
        "Cargo.toml",
        "Cargo.lock",
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "pnpm-lock.yaml",
        "yarn.lock",
    }
)
_KEPT = 4


@dataclass(frozen=True)
class Replayed:
    """One commit against its first parent. `missing` is the commit that the repository does not hold, or "".

    `glob_rule` is what the usual rule would have said: any manifest or lockfile means dependencies.
    """

    commit: str
    kind: Kind
    cause: str
    glob_rule: bool
    missing: str = ""
    #: Manifests could not be read: the slower path is taken, whatever really changed.
    doubt: bool = False

    @property
    def dependency(self) -> bool:
        """Whether the dependency layer is built again."""
        return self.kind in (Kind.DEPENDENCY, Kind.BASE)


class Replay:
    """Commits of one service's folder. What neighbouring commits share is read and understood once."""

    def __init__(self, objects: Objects, inputs: Inputs, folder: str) -> None:
        self._objects = objects
        self._inputs = inputs
        self._scope = Scope("", folder.strip("/"), inputs.reads)
        #: The newest last. Whichever way history is walked, a commit shares a tree with the one before.
        self._known: dict[str, Fingerprint] = {}

    def each(self, commits: Iterable[str]) -> Iterator[Replayed]:
        for name in commits:
            yield self.one(name)

    def one(self, name: str) -> Replayed:
        """A commit by its id; one that is not here, or whose parent is not, is told."""
        commit = self._objects.commit(name)
        if commit is None:
            return Replayed(name, Kind.IGNORED, "", glob_rule=False, missing=name)
        parent = self._objects.commit(commit.parent) if commit.parent else Commit("", "", "")
        if parent is None:
            return Replayed(name, Kind.IGNORED, "", glob_rule=False, missing=commit.parent)
        before, after = (self._objects.below(one.tree, self._scope.folder) for one in (parent, commit))
        changes = list(self._objects.changes(before, after))
        glob_rule = any(_is_manifest(path) for path, _, _ in changes)
        if not changes:
            return Replayed(name, Kind.IGNORED, f"nothing in {self._scope.folder or 'it'} changed", glob_rule)
        decided = self._decided(before, after, changes)
        doubt = decided.kind is Kind.DEPENDENCY and _is_doubtful(self._known[before], self._known[after])
        return Replayed(name, decided.kind, decided.cause, glob_rule, doubt=doubt)

    def _decided(self, before: str, after: str, changes: list[Changed]) -> Classification:
        """Of what the changes mean, the strongest; of several what a manifest or lockfile says, else the first."""
        touched = self._is_linked(after) or any(self._may_matter(*change) for change in changes)
        if not touched:
            known = next((self._known[tree] for tree in (before, after) if tree in self._known), None)
            self._keep(before, known or self._fingerprint(before))
            self._keep(after, self._known[before])
        was = Side({path: old for path, old, _ in changes if old is not None}, self._fingerprint(before))
        is_ = Side({path: new for path, _, new in changes if new is not None}, self._fingerprint(after))
        told = list(classify(self._scope, was, is_))
        if was.fingerprint.doubt or is_.fingerprint.doubt:  # as there is if a manifest leads into one
            told += map(self._of_submodule, _submodules(changes))
        return max(told, key=lambda one: (one.kind, _is_manifest(one.path)))

    def _of_submodule(self, path: str) -> Classification:
        cause = f"{path}: submodule changed; what it holds is not known here"
        return Classification("", Kind.DEPENDENCY, self._scope.placed(path), cause)

    def _is_linked(self, tree: str) -> bool:
        """Whether a file that counts is a link: what it leads to has another name."""
        files = self._objects.files(tree) if tree else {}
        return any(item.mode == LINK and self._inputs.reads(path) for path, item in files.items())

    def _may_matter(self, path: str, old: Item | None, new: Item | None) -> bool:
        """Whether a change can reach the dependency layer: what comes or goes may be a target, by its name."""
        if old is None or new is None or LINK in (old.mode, new.mode):
            return True
        return self._inputs.reads(path)

    def _fingerprint(self, tree: str) -> Fingerprint:
        if tree not in self._known:
            files = self._objects.files(tree) if tree else {}
            self._keep(tree, self._inputs.fingerprint(tree_at(self._objects, files)))
        return self._known[tree]

    def _keep(self, tree: str, fingerprint: Fingerprint) -> None:
        self._known.pop(tree, None)
        self._known[tree] = fingerprint
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]


def _submodules(changes: Iterable[Changed]) -> Iterator[str]:
    for path, old, new in changes:
        if SUBMODULE in (old and old.mode, new and new.mode):
            yield path


def _is_manifest(path: str) -> bool:
    return path.rpartition("/")[2] in GLOB_NAMES


def _is_doubtful(before: Fingerprint, after: Fingerprint) -> bool:
    """Whether what changed cannot be told. A manifest that came or went is no doubt."""
    missing = [each.doubt.endswith("is not there") for each in (before, after)]
    return bool(before.doubt or after.doubt) and missing not in ([True, False], [False, True])
