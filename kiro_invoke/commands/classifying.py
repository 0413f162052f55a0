"""The command `classify`: what would be built, and why."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.built import CONFIGURATION, configuration, configuration_change
from kiro_invoke.builds.planner import Profile
from kiro_invoke.commands.looking import Looked, inside, look, why_left_out
from kiro_invoke.commands.since import LAST_BUILD, Against
from kiro_invoke.commands.since import since as revision_since
from kiro_invoke.commands.surface import SCHEMA, Answer, Surface
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.errors import UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean

#: How many changes of one service and kind the text form names, and of those that are ignored.
_SHOWN, _SHOWN_IGNORED = 20, 5


def classify(
    paths: Sequence[str], services: Sequence[str], *, since: str | None, prod: bool
) -> Callable[[Surface], Answer]:
    """What changed since the last build, or since a revision, and what it means. Needs no engine."""

    def body(surface: Surface) -> Answer:
        project = config.load(surface.folder, surface.environ, services=services)
        wanted = tuple(_asked(path, surface.folder, project.root) for path in paths)
        looked = tuple(look(project, Profile.PROD if prod else Profile.DEV, time.time_ns))
        for rule in (rule for one in looked for rule in one.inputs.unmatched(one.snapshot.entries)):
            surface.say(f"{rule.where}: dependency_inputs: `{rule.pattern}` is no file of the build context")
        with ExitStack() as stack:
            against = LAST_BUILD if since is None else revision_since(stack, project, since, surface.environ)
            rows = [row for one in looked for row in against.classified(one)]
            rows += _of_configuration(project, looked, against)
            if not services:
                rows += _of_the_rest(looked, rows, against)
            told = tuple(
                _chosen(rows, wanted, looked, against) if wanted else _with_all(rows, looked, against)
            )
        return Answer({}, lambda s: _show(s, told), rows=lambda: map(_row, told))

    return body


def _asked(path: str, folder: Path, root: Path) -> str:
    """A path that was asked for, from the repository's root; UsageError outside of it."""
    given = folder / path
    parent, last = (given, "") if given.name in ("", "..") else (given.parent, given.name)
    whole = Path(os.path.realpath(parent)) / last
    if not whole.is_relative_to(root):
        raise UsageError(f'--path "{path}" lies outside the repository', fix=f"name a path in {root}")
    return "" if whole == root else whole.relative_to(root).as_posix()


def _of_configuration(
    project: Project, looked: Sequence[Looked], against: Against
) -> Iterator[Classification]:
    """The files at the root that say what is built and run."""
    if against.revision:
        yield from against.configuration(project)
        return
    now = dict(project.files)
    notes = [one.note for one in looked if one.note]
    before = {name: value for note in notes for name, value in note.config.items()}
    changed = {name for note in notes for name in CONFIGURATION if note.config.get(name) != now.get(name)}
    for name in sorted(changed):
        yield configuration_change(name, before, now)


def _of_the_rest(
    looked: Sequence[Looked], rows: Sequence[Classification], against: Against
) -> Iterator[Classification]:
    """What git knows to differ and no build gets."""
    told = {row.path for row in rows}
    for path in sorted(against.differing - told):
        yield from _unasked(path, looked, rows, against)


def _chosen(
    rows: Sequence[Classification], wanted: Sequence[str], looked: Sequence[Looked], against: Against
) -> Iterator[Classification]:
    """The rows of the paths that were asked for, and for each that has none why nothing is built."""
    root = looked[0].project.root
    found = [row for row in rows if any(inside(each, wanted) for each in _places(row, root))]
    yield from found
    for path in wanted:
        if any(inside(each, (path,)) for row in found for each in _places(row, root)):
            continue
        whole = [row for row in rows if row.kind is Kind.BASE and inside(path, (_folder(row),))]
        if whole:  # of a service that was never built only its folder is told
            yield from whole
            continue
        why = tuple(_unasked(path, looked, rows, against))
        is_there = os.path.lexists(root / path)
        if not is_there and not any(row.service for row in why):
            raise UsageError(
                f'--path "{path}": there is no such file, and no build had one', fix="correct it"
            )
        yield from why


def _places(row: Classification, root: Path) -> Iterator[str]:
    """Where what a row tells of stands: its path, and where that leads if it is a link."""
    yield row.path
    if (root / row.path).is_symlink():
        real = Path(os.path.realpath(root / row.path))
        if real.is_relative_to(root):
            yield real.relative_to(root).as_posix()


def _folder(row: Classification) -> str:
    return "" if row.path == "." else row.path


def _unasked(
    path: str, looked: Sequence[Looked], rows: Sequence[Classification], against: Against
) -> Iterator[Classification]:
    """Why a path is no reason to build: for each service that has to do with it, or once for none."""
    if path in CONFIGURATION:
        yield Classification("", Kind.IGNORED, path, f"{path} unchanged since {against.words}")
        return
    names = ", ".join(one.name for one in looked)
    told = [why for one in looked if (why := _of_one(path, one, rows, against))]
    yield from told
    if not told:
        cause = f"{path} is in no build context (looked at: {names})"
        yield Classification("", Kind.IGNORED, path, cause)


def _of_one(
    path: str, one: Looked, rows: Sequence[Classification], against: Against
) -> Classification | None:
    """The same for one service; None if it has nothing to do with the path."""
    if path == one.dockerfile:
        cause = f"{path}: what it says is unchanged since {against.words}"
        return Classification(one.name, Kind.IGNORED, path, cause)
    if path == one.ignore_file and _is_other(path, one, against):
        strongest = max((row.kind for row in rows if row.service == one.name), default=Kind.IGNORED)
        cause = f"{path} decides what builds get: what that changes is told of each file"
        return Classification(one.name, strongest, path, cause)
    if inside(path, (one.folder,)):
        own = path.removeprefix(f"{one.folder}/") if one.folder else path
        why = why_left_out(one, own) if own else ""
        if why:
            return Classification(one.name, Kind.IGNORED, path, f"{own} is {why}")
    elif not inside(one.folder, (path,)):
        return None
    cause = f"{path or '.'}: content unchanged since {against.words}"
    return Classification(one.name, Kind.IGNORED, path or ".", cause)


def _is_other(path: str, one: Looked, against: Against) -> bool:
    if against.revision:
        return path in against.differing
    now = configuration(one.project.root, [path])
    return one.note is not None and one.note.config.get(path) != now.get(path)


def _with_all(
    rows: Sequence[Classification], looked: Sequence[Looked], against: Against
) -> Iterator[Classification]:
    """The rows, and one for each service that has none."""
    yield from rows
    for one in looked:
        if all(row.service != one.name for row in rows):
            cause = f"nothing changed since {against.words}"
            yield Classification(one.name, Kind.IGNORED, one.folder or ".", cause)


def _row(one: Classification) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "service": one.service,
        "kind": str(one.kind),
        "path": one.path,
        "cause": one.cause,
        "rebuild": one.rebuild,
    }


def _show(surface: Surface, rows: Sequence[Classification]) -> None:
    """A line for each change, by service and kind, strongest first; then what is built of each service."""
    ordered = sorted(rows, key=lambda row: (not row.service, row.service, -row.kind))
    for (service, kind), group in groupby(ordered, key=lambda row: (row.service, row.kind)):
        some, most = list(group), _SHOWN if kind else _SHOWN_IGNORED
        for row in some[:most]:
            surface.out.line(_line(kind, service, row.cause))
        if len(some) > most:
            surface.out.line(_line(kind, service, f"and {len(some) - most:,} more"))
    for service, group in groupby(ordered, key=lambda row: row.service):
        strongest = max(row.kind for row in group)
        if service:
            surface.out.line(clean(f"{service}: rebuilt: {strongest.rebuild}"))


def _line(kind: Kind, service: str, cause: str) -> str:
    """One line, whatever a file is called."""
    return clean(f"{kind!s:<10}  {service or '-':<10}  {cause}".replace("\n", "\\n"))
