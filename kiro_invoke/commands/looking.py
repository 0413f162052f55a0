"""Look at services as they stand, and as they stood: at their last build, or at a git revision."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from kiro_invoke.builds.base_parts import base_parts, names_folder
from kiro_invoke.builds.built import Note, Shelf, read_built, read_note
from kiro_invoke.builds.dockerfile import parse
from kiro_invoke.builds.noting import side_of
from kiro_invoke.builds.planner import Profile, Recipe, placed
from kiro_invoke.builds.sending import CONTEXTS
from kiro_invoke.cache.warm import read_recipes
from kiro_invoke.changes.classify import Scope, Side
from kiro_invoke.changes.context import Rules, rules_of
from kiro_invoke.changes.dependencies import Ignored, ServiceInputs, tree_of
from kiro_invoke.changes.mirror import mirror_name
from kiro_invoke.changes.revision import Revision
from kiro_invoke.changes.snapshot import NOTHING, Snapshot, scan
from kiro_invoke.changes.stored import load
from kiro_invoke.model.service import Project


@dataclass(frozen=True)
class Looked:
    """A service as it stands: its ignore rules, its context, and that as a side of a comparison."""

    project: Project
    recipe: Recipe
    rules: Rules
    snapshot: Snapshot
    inputs: ServiceInputs
    side: Side
    shelf: Shelf

    @property
    def name(self) -> str:
        return self.recipe.service.name

    @cached_property
    def note(self) -> Note | None:
        """What its image was last built from, in short; None if that is not known."""
        return read_note(self.shelf)

    @property
    def folder(self) -> str:
        """Its path in the repository, "" for the root."""
        return placed(self.recipe.service.context, self.project.root)

    @property
    def dockerfile(self) -> str:
        """Its Dockerfile's place in the repository."""
        return placed(self.recipe.path, self.project.root)

    @property
    def ignore_file(self) -> str | None:
        """The place of the file that its ignore rules are from; None if there is none."""
        return placed(self.rules.file, self.project.root) if self.rules.file else None

    def scope(self, before: Side) -> Scope:
        """What is to be known of it to compare it with `before`."""
        sides = (before.contents, self.side.contents)
        ignored = Ignored(
            self.recipe.service, *sides, lambda folder: names_folder(self.recipe.parsed, folder)
        )
        inputs = self.inputs
        return Scope(self.name, self.folder, inputs.reads, ignored, self._now_left_out, inputs.declared)

    def _now_left_out(self, path: str) -> str:
        is_there = os.path.lexists(self.recipe.service.context / path)
        return why_left_out(self, path) if is_there else ""


def look(project: Project, profile: Profile, now: Callable[[], int]) -> Iterator[Looked]:
    """Each service by its Dockerfile of that profile; without a fast one, for development by the other."""
    for service in project.services:
        usable = profile if service.fast_dockerfile else Profile.PROD
        for recipe in read_recipes(replace(project, services=(service,)), (usable,)):
            yield _looked(project, recipe, now(), None)


def look_at_images(project: Project, now: Callable[[], int]) -> Iterator[Looked]:
    """Each service by each Dockerfile that it has. What two get by the same rules is looked at once."""
    for service in project.services:
        looked = None
        for recipe in read_recipes(replace(project, services=(service,)), tuple(Profile)):
            looked = _looked(project, recipe, now(), looked)
            yield looked


def as_built(looked: Looked) -> Side | None:
    """What its image was last built from; None if that is not known."""
    built = read_built(looked.shelf, looked.note)
    return side_of(built) if built else None


def as_committed(looked: Looked, revision: Revision, given: Project) -> Side:
    """What a build of a revision would have been made from. `given`: the project as it gave to builds then."""
    service = looked.recipe.service
    rules = revision.rules(looked.folder, looked.dockerfile, looked.rules)
    there = tree_of(service.context, looked.snapshot.entries)
    contents = revision.contents(looked.folder, rules, looked.snapshot, there, looked.inputs.reads)
    text = revision.file(looked.dockerfile)
    parsed = parse((text or b"").decode(errors="replace")).given(dict(given.build_args))
    base = {} if text is None else base_parts(replace(looked.recipe, parsed=parsed), given)
    return Side(contents, looked.inputs.fingerprint(revision.files(contents, there)).hashed, base)


def why_left_out(looked: Looked, path: str) -> str:
    """Why no build of a service gets the file at `path` (in its folder): "left out by ..."; "" if one does."""
    pattern = looked.rules.excluding(path)
    if pattern is None:
        return ""
    file = looked.rules.file
    where = f" ({placed(file, looked.project.root)}:{pattern.line})" if file else ""
    return f"left out of the build context by `{pattern.text}`{where}"


def _looked(project: Project, recipe: Recipe, now: int, other: Looked | None) -> Looked:
    """`other` is the same service by another Dockerfile."""
    service = recipe.service
    rules = rules_of(service.context, recipe.path)
    name = mirror_name(project.root, service.name, rules)
    shelf = Shelf(project.state / CONTEXTS, name, recipe.profile)
    if other is not None and other.rules == rules:
        side = replace(other.side, base=base_parts(recipe, project))
        return Looked(project, recipe, rules, other.snapshot, other.inputs, side, shelf)
    stored = load(shelf.record)
    known = stored.snapshots[0] if stored else NOTHING
    snapshot = scan(service.context, rules, known, now, skip=project.state)
    inputs = ServiceInputs(service)
    fingerprint = inputs.fingerprint(tree_of(service.context, snapshot.entries)).hashed
    side = Side(snapshot.contents, fingerprint, base_parts(recipe, project))
    return Looked(project, recipe, rules, snapshot, inputs, side, shelf)


def inside(path: str, folders: Sequence[str]) -> bool:
    """Whether a path is one of these, or lies below one ("" is the root of all)."""
    return any(not folder or path == folder or path.startswith(f"{folder}/") for folder in folders)
