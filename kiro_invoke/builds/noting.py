"""Note what images were built from, and what such a build cost: while the engine works, since it takes a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kiro_invoke.builds.base_parts import base_parts, names_folder
from kiro_invoke.builds.built import (
    CONFIGURATION,
    Built,
    Note,
    Shelf,
    configuration,
    configuration_change,
    read_built,
    read_note,
    write_built,
)
from kiro_invoke.builds.planner import Recipe, placed, shown
from kiro_invoke.changes.classify import Scope, Side, classify
from kiro_invoke.changes.context import rules_of
from kiro_invoke.changes.stored import load
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.fingerprint import Fingerprint
from kiro_invoke.model.plan import Sending, Sent
from kiro_invoke.model.record import ImageChange
from kiro_invoke.model.service import Project

if TYPE_CHECKING:
    from kiro_invoke.changes.dependencies import ServiceInputs

#: What is said where there is no change to be told.
NOTHING_CHANGED, FIRST_BUILD = "nothing changed", "first build"


@dataclass(frozen=True)
class Drawn:
    """A note that is ready to be kept. `kind` is what had changed of the sources since the note before (None: there
    was none).
    """

    recipe: Recipe
    shelf: Shelf
    note: Note
    fingerprint: Fingerprint
    kind: Kind | None


@dataclass(frozen=True)
class Notes:
    """Of a build's images: the notes to be kept, and for each of them what had changed since the note before."""

    drawn: tuple[Drawn, ...]
    changes: tuple[ImageChange, ...]


def shelf_of(recipe: Recipe, sent: Sent) -> Shelf:
    """Where the note of a recipe's image lies."""
    return Shelf(sent.context.parent, sent.context.name, recipe.profile)


def draw_up(recipes: Sequence[Recipe], sending: Sending, project: Project) -> Notes:
    """Notes of all images that are built from something else than was noted. Mirrors stay held until they are kept."""
    looked = [
        _drawn(recipe, sent, project)
        for recipe in recipes
        if (sent := sending.get((recipe.service.name, recipe.path)))
    ]
    return Notes(
        tuple(drawn for drawn, _ in looked if drawn is not None), tuple(change for _, change in looked)
    )


def keep(drawn: Sequence[Drawn]) -> None:
    """The images are built: from now on changes are told from here."""
    for each in drawn:
        write_built(each.shelf, each.note, each.fingerprint)


def side_of(built: Built) -> Side:
    """A noted build as a side to compare with."""
    return Side(built.snapshot.contents, built.fingerprint, built.note.base)


def _drawn(recipe: Recipe, sent: Sent, project: Project) -> tuple[Drawn | None, ImageChange]:
    unchanged = ImageChange(
        recipe.service.name, recipe.profile, Kind.IGNORED, NOTHING_CHANGED, revision=sent.revision
    )
    shelf, base = shelf_of(recipe, sent), base_parts(recipe, project)
    rules = rules_of(recipe.service.context, recipe.path).file
    ignoring = [shown(rules, project.root)] if rules else []
    config = dict(project.files) | configuration(project.root, ignoring)
    last = read_note(shelf)
    if last and (last.base, last.config) == (base, config) and shelf.is_of_the_record:
        return None, unchanged
    stored = load(shelf.record)
    if stored is None:
        return None, replace(unchanged, kind=None, cause="")
    from kiro_invoke.changes.dependencies import ServiceInputs, tree_of  # a build of nothing needs none

    snapshot, inputs = stored.snapshots[0], ServiceInputs(recipe.service)
    fingerprint = inputs.fingerprint(tree_of(sent.context, snapshot.entries)).hashed
    note = Note(sent.revision, base, config)
    built = read_built(shelf, last)
    if last is None or built is None:
        drawn = Drawn(recipe, shelf, note, fingerprint, None)
        return drawn, replace(unchanged, kind=None, cause=FIRST_BUILD)
    found = _found(recipe, built, Built(note, fingerprint, snapshot), inputs, project)
    kind = max((each.kind for each in found), default=Kind.IGNORED)
    strongest = max((*found, *_of_configuration(last, note)), key=lambda one: one.kind, default=None)
    change = unchanged
    if strongest is not None:
        change = replace(unchanged, kind=strongest.kind, cause=strongest.cause, path=strongest.path)
    return Drawn(recipe, shelf, note, fingerprint, kind), change


def _found(
    recipe: Recipe, before: Built, after: Built, inputs: ServiceInputs, project: Project
) -> tuple[Classification, ...]:
    """Every change of a service's sources."""
    from kiro_invoke.changes.dependencies import Ignored

    entries = (before.snapshot.entries, after.snapshot.entries)
    ignored = Ignored(recipe.service, *entries, lambda folder: names_folder(recipe.parsed, folder))
    folder = placed(recipe.service.context, project.root)
    scope = Scope(recipe.service.name, folder, inputs.reads, ignored, declared=inputs.declared)
    return classify(scope, side_of(before), side_of(after))


def _of_configuration(before: Note, after: Note) -> Iterator[Classification]:
    """The files at the root that say what is built and run."""
    for name in CONFIGURATION:
        if before.config.get(name) != after.config.get(name):
            yield configuration_change(name, before.config, after.config)
