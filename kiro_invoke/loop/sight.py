"""A service as it lies on disk: looked at once, and then again at what may have changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from kiro_invoke.builds.base_parts import base_parts, names_folder
from kiro_invoke.builds.built import Shelf
from kiro_invoke.builds.planner import Recipe, placed
from kiro_invoke.builds.sending import CONTEXTS
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.changes.context import IGNORE_FILE, rules_of
from kiro_invoke.changes.dependencies import Ignored, PathRules, ServiceInputs, tree_of
from kiro_invoke.changes.litter import litter
from kiro_invoke.changes.mirror import mirror_name
from kiro_invoke.changes.rescan import rescan
from kiro_invoke.changes.snapshot import NOTHING, Snapshot, revision, scan
from kiro_invoke.changes.stored import load
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.fingerprint import Fingerprint
from kiro_invoke.model.service import Project

#: More paths than these are not looked at one by one.
_SOME = 300


class Sight:
    """One service. `now` is the clock, in nanoseconds. ConfigError from `look` leaves all as it was."""

    def __init__(self, project: Project, recipe: Recipe, now: Callable[[], int]) -> None:
        self.project = project
        self.recipe = recipe
        self._now = now
        self._inputs = ServiceInputs(recipe.service)
        self._ignoring = PathRules(recipe.service.ignore)
        self._signature = self._declared()
        self.rules = rules_of(self.context, recipe.path)
        stored = load(self.shelf.record)
        known = stored.snapshots[0] if stored else NOTHING
        self.snapshot = scan(self.context, self.rules, known, now(), skip=project.state)
        self._revised, self._revision = self.snapshot, self.snapshot.revision
        contents = self.snapshot.contents
        self.side = Side(contents, self._fingerprint(), base_parts(recipe, project))

    @property
    def name(self) -> str:
        return self.recipe.service.name

    @property
    def context(self) -> Path:
        return self.recipe.service.context

    @property
    def shelf(self) -> Shelf:
        """Where is noted what its image was last built from."""
        name = mirror_name(self.project.root, self.name, self.rules)
        return Shelf(self.project.state / CONTEXTS, name, self.recipe.profile)

    @property
    def revision(self) -> str:
        """The hash of its sources."""
        if self.snapshot.revision:
            return self.snapshot.revision
        if self._revised is not self.snapshot:  # of a large tree that takes a moment
            self._revised, self._revision = self.snapshot, revision(self.snapshot.entries)
        return self._revision

    def folders(self) -> tuple[Path, ...]:
        """All folders in which something may change that concerns it."""
        own = (self.context / path for path in self.snapshot.folders)
        return (self.context, *own, self.recipe.path.parent)

    def look(self, paths: Collection[str] | None) -> None:
        """Look again: at these absolute paths, or with None at everything."""
        recipe, rules, signature = self.recipe, self.rules, self._declared()
        if signature != self._signature:
            service = recipe.service
            (recipe,) = read_recipes(replace(self.project, services=(service,)), (recipe.profile,))
            rules = rules_of(self.context, recipe.path)
        if rules != self.rules or paths is None or len(paths) > _SOME:
            snapshot = scan(self.context, rules, self.snapshot, self._now(), skip=self.project.state)
        else:
            own = self._own(paths)
            snapshot = rescan(self.context, rules, self.snapshot, own, self._now(), skip=self.project.state)
        self._take(recipe, snapshot, paths)
        self.rules, self._signature = rules, signature

    def rows(self, before: Side) -> tuple[Classification, ...]:
        """What changed since a container held, or an image was built from, `before`; and what that means."""
        sides = (before.contents, self.side.contents)
        parsed = self.recipe.parsed
        ignored = Ignored(self.recipe.service, *sides, lambda folder: names_folder(parsed, folder))
        inputs = self._inputs
        scope = Scope(self.name, self.folder, inputs.reads, ignored, self._left_out, inputs.declared)
        return classify(scope, before, self.side)

    def wanted(self, rows: Iterable[Classification], held: Mapping[str, object]) -> dict[str, object]:
        """What a container is to hold: what lies on disk, but for changes that are no reason to do anything."""
        wanted = dict(self.side.contents)
        for row in rows:
            if row.kind is Kind.IGNORED:
                path = self.unplaced(row.path)
                if path in held:
                    wanted[path] = held[path]
                else:
                    wanted.pop(path, None)
        return wanted

    @property
    def folder(self) -> str:
        """Its path in the repository, "" for the root."""
        return placed(self.context, self.project.root)

    def unplaced(self, path: str) -> str:
        """A path of the repository, as the service's own."""
        return path.removeprefix(f"{self.folder}/") if self.folder else path

    def ignores(self, path: str) -> bool:
        """Whether no change of a file of the service is a reason for anything, by kiro.yaml or as an editor's own."""
        return bool(litter(path)) or self._ignoring.matching(path) is not None

    def concerns(self, path: str) -> bool:
        """Whether something at an absolute path can be part of what it is built from."""
        prefix = f"{self.context}/"
        if path in self._signature or path == str(self.context):
            return True
        return path.startswith(prefix) and self.rules.lets_through(path.removeprefix(prefix))

    def _own(self, paths: Iterable[str]) -> list[str]:
        prefix = f"{self.context}/"
        return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]

    def _take(self, recipe: Recipe, snapshot: Snapshot, paths: Collection[str] | None) -> None:
        before, old = self.snapshot, self.side
        if snapshot is before and recipe is self.recipe:
            return
        is_partial = snapshot.folders is before.folders and paths is not None
        contents = (
            _updated(old.contents, snapshot, self._own(paths or ())) if is_partial else snapshot.contents
        )
        moved = self._own(paths or ()) if is_partial else contents.keys() | old.contents.keys()
        changed = [path for path in moved if contents.get(path) != old.contents.get(path)]
        self.snapshot, self.recipe = snapshot, recipe
        fingerprint = old.fingerprint
        if any(self._matters(path, old.contents, contents) for path in changed):
            fingerprint = self._fingerprint()
        base = base_parts(recipe, self.project)
        if changed or base != old.base:  # else it is the same side: nothing that counts was touched
            self.side = Side(contents, fingerprint, base)

    def _matters(self, path: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
        """Whether the dependency layer may see a change: by a file's content, or by a name that came or went."""
        return self._inputs.reads(path) or (path in before) != (path in after) or bool(self._doubts())

    def _doubts(self) -> str:
        return self.side.fingerprint.doubt

    def _fingerprint(self) -> Fingerprint:
        return self._inputs.fingerprint(tree_of(self.context, self.snapshot.entries)).hashed

    def _left_out(self, path: str) -> str:
        """Why no build gets a file any more that is still there; "" of others."""
        pattern = self.rules.excluding(path)
        is_there = pattern is not None and os.path.lexists(self.context / path)
        return f"left out of the build context by `{pattern.text}`" if pattern and is_there else ""

    def _declared(self) -> dict[str, object]:
        """The files that say how it is built, by path, and what tells whether they were touched."""
        file = self.recipe.path
        places = (file, file.with_name(f"{file.name}{IGNORE_FILE}"), self.context / IGNORE_FILE)
        return {str(place): _touched(place) for place in places}


def _updated(contents: Mapping[str, object], snapshot: Snapshot, paths: Iterable[str]) -> dict[str, object]:
    now = dict(contents)
    for path in paths:
        entry = snapshot.entries.get(path)
        if entry is None:
            now.pop(path, None)
        else:
            now[path] = entry.what
    return now


def _touched(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino
