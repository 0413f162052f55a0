"""The command `classify`: what would be built, and why."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from kiro_invoke import config
from kiro_invoke.builds.built import CONFIGURATION, configuration, configuration_change
from kiro_invoke.builds.planner import Profile
from kiro_invoke.changes.classify import classify as compared
from kiro_invoke.changes.objects import Objects
from kiro_invoke.changes.revision import Revision
from kiro_invoke.commands.looking import Looked, as_built, as_committed, inside, look, why_left_out
from kiro_invoke.commands.surface import SCHEMA, Answer, Surface
from kiro_invoke.engine import git, process
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.errors import UsageError
from kiro_invoke.model.service import Project
from kiro_invoke.plain import clean

#: How many changes of one service and kind the text form names, and of those that are ignored.
_SHOWN, _SHOWN_IGNORED = 20, 5


@dataclass(frozen=True)
class Since:
    """What is compared with: a git revision, or the last build."""

    revision: Revision | None

    @property
    def differing(self) -> frozenset[str]:
        """The paths that git knows to differ."""
        return self.revision.differing if self.revision else frozenset()

    @property
    def words(self) -> str:
        return "that revision" if self.revision else "its last build"


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
            against = _since(stack, project, since) if since is not None else Since(None)
            rows = [*_of_services(looked, against)]
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


def _since(stack: ExitStack, project: Project, name: str) -> Since:
    commit = git.resolved(project.root, process.run, name)
    prefix = git.prefix(project.root, process.run)
    untracked = git.untracked(project.root, process.run)
    differing = git.changed(project.root, process.run, commit) | untracked
    objects = Objects(stack.enter_context(git.opened(project.root)).read)
    found = objects.commit(commit)
    tree = objects.below(found.tree, prefix) if found else ""
    same = {
        f"{path}/{file}"
        for path, at in objects.submodules(tree).items()
        if path not in differing
        for file in (*git.as_committed(project.root / path, process.run, at), ".git")
    }
    return Since(Revision(objects, tree, differing, frozenset(same)))


def _of_services(looked: Sequence[Looked], against: Since) -> Iterator[Classification]:
    for one in looked:
        before = as_committed(one, against.revision) if against.revision else as_built(one)
        if before is None:
            cause = f"no build of {one.name} is on record here: all of it is built"
            yield Classification(one.name, Kind.BASE, one.folder or ".", cause)
        else:
            yield from compared(one.scope(before), before, one.side)


def _of_configuration(project: Project, looked: Sequence[Looked], against: Since) -> Iterator[Classification]:
    """The files at the root that say what is built and run."""
    now = dict(project.files)
    if against.revision:
        before = {name: "" for name in CONFIGURATION if against.revision.file(name) is not None}
        changed = frozenset(CONFIGURATION) & against.differing
    else:
        notes = [one.note for one in looked if one.note]
        before = {name: value for note in notes for name, value in note.config.items()}
        changed = frozenset(
            name for note in notes for name in CONFIGURATION if note.config.get(name) != now.get(name)
        )
    if against.revision and "kiro.yaml" in changed and _gives_to_builds(project, against.revision):
        for one in looked:
            cause = "kiro.yaml differs: what it gave to builds of that revision is not read"
            yield Classification(one.name, Kind.BASE, "kiro.yaml", cause)
    for name in sorted(changed):
        yield configuration_change(name, before, now)


def _gives_to_builds(project: Project, revision: Revision) -> bool:
    """Whether kiro.yaml gives, or gave, build arguments or other base images."""
    then = revision.file("kiro.yaml") or b""
    return bool(project.build_args or project.base_images) or b"build_args" in then or b"base_images" in then


def _of_the_rest(
    looked: Sequence[Looked], rows: Sequence[Classification], against: Since
) -> Iterator[Classification]:
    """What git knows to differ and no build gets."""
    told = {row.path for row in rows}
    for path in sorted(against.differing - told):
        yield from _unasked(path, looked, rows, against)


def _chosen(
    rows: Sequence[Classification], wanted: Sequence[str], looked: Sequence[Looked], against: Since
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
    path: str, looked: Sequence[Looked], rows: Sequence[Classification], against: Since
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


def _of_one(path: str, one: Looked, rows: Sequence[Classification], against: Since) -> Classification | None:
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


def _is_other(path: str, one: Looked, against: Since) -> bool:
    if against.revision:
        return path in against.differing
    now = configuration(one.project.root, [path])
    return one.note is not None and one.note.config.get(path) != now.get(path)


def _with_all(
    rows: Sequence[Classification], looked: Sequence[Looked], against: Since
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
