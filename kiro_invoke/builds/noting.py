"""Note what images were built from, and what such a build cost: while the engine works, since it takes a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kiro_invoke.builds.base_parts import base_parts, names_folder
from kiro_invoke.builds.built import Built, Note, Shelf, configuration, read_built, read_note, write_built
from kiro_invoke.builds.planner import Recipe, shown
from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.changes.context import rules_of
from kiro_invoke.changes.stored import load
from kiro_invoke.model.change import Kind
from kiro_invoke.model.fingerprint import Fingerprint
from kiro_invoke.model.plan import Sending, Sent
from kiro_invoke.model.service import Project


@dataclass(frozen=True)
class Drawn:
    """A note that is ready to be kept. `kind` is what had changed since the note before (None: there was none)."""

    recipe: Recipe
    shelf: Shelf
    note: Note
    fingerprint: Fingerprint
    kind: Kind | None


def shelf_of(recipe: Recipe, sent: Sent) -> Shelf:
    """Where the note of a recipe's image lies."""
    return Shelf(sent.context.parent, sent.context.name, recipe.profile)


def draw_up(recipes: Sequence[Recipe], sending: Sending, project: Project) -> tuple[Drawn, ...]:
    """Notes of all images that are built from something else than was noted. Mirrors stay held until they are kept."""
    drawn = (_drawn(recipe, sending, project) for recipe in recipes)
    return tuple(each for each in drawn if each is not None)


def keep(drawn: Sequence[Drawn]) -> None:
    """The images are built: from now on changes are told from here."""
    for each in drawn:
        write_built(each.shelf, each.note, each.fingerprint)


def side_of(built: Built) -> Side:
    """A noted build as a side to compare with."""
    return Side(built.snapshot.contents, built.fingerprint, built.note.base)


def _drawn(recipe: Recipe, sending: Sending, project: Project) -> Drawn | None:
    sent = sending.get((recipe.service.name, recipe.path))
    if sent is None:
        return None
    shelf, base = shelf_of(recipe, sent), base_parts(recipe, project)
    rules = rules_of(recipe.service.context, recipe.path).file
    ignoring = [shown(rules, project.root)] if rules else []
    config = dict(project.files) | configuration(project.root, ignoring)
    last = read_note(shelf)
    if last and (last.base, last.config) == (base, config) and shelf.is_of_the_record:
        return None
    stored = load(shelf.record)
    if stored is None:
        return None
    from kiro_invoke.changes.dependencies import (
        Ignored,
        ServiceInputs,
        tree_of,
    )  # a build of nothing needs none

    snapshot, inputs = stored.snapshots[0], ServiceInputs(recipe.service)
    fingerprint = inputs.fingerprint(tree_of(sent.context, snapshot.entries)).hashed
    note, kind = Note(sent.revision, base, config), None
    built = read_built(shelf, last)
    if built is not None:
        sides = (built.snapshot.entries, snapshot.entries)
        ignored = Ignored(recipe.service, *sides, lambda folder: names_folder(recipe.parsed, folder))
        scope = Scope(recipe.service.name, "", inputs.reads, ignored, declared=inputs.declared)
        found = classify(scope, side_of(built), side_of(Built(note, fingerprint, snapshot)))
        kind = max((each.kind for each in found), default=Kind.IGNORED)
    return Drawn(recipe, shelf, note, fingerprint, kind)
