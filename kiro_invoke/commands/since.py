"""A git revision to compare services with: what its builds got, and what kiro.yaml and git's attributes made of it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeAlias

from kiro_invoke.builds.built import CONFIGURATION, configuration_change
from kiro_invoke.changes.attributes import NAME, converting
from kiro_invoke.changes.classify import Side
from kiro_invoke.changes.classify import classify as compared
from kiro_invoke.changes.objects import Objects, tree_at
from kiro_invoke.changes.revision import Revision
from kiro_invoke.commands.looking import Looked, as_built, as_committed, inside
from kiro_invoke.config.nodes import FILE
from kiro_invoke.config.then import Said, differences, said_now, said_then
from kiro_invoke.engine import git, process
from kiro_invoke.model.change import Classification, Kind
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.service import Project


@dataclass(frozen=True)
class Since:
    """A revision, its full id, and what its kiro.yaml gave to builds (None: `unread` says why that is not known).

    `converted` are git's files of attributes by which a checkout may have made other files of the same commit, by the
    folder that they are about.
    """

    revision: Revision
    commit: str
    then: Said | None
    now: Said
    unread: str
    converted: Mapping[str, str]
    words: ClassVar[str] = "that revision"

    @property
    def differing(self) -> frozenset[str]:
        """The paths that git knows to differ."""
        return self.revision.differing

    def classified(self, looked: Looked) -> Iterator[Classification]:
        """What is not the same of a service's image as a build of the revision would have made it."""
        yield from self._given(looked)
        before = self._before(looked)
        yield from compared(looked.scope(before), before, looked.side)
        if place := self.revision.unreadable_rules(looked.folder, looked.dockerfile):
            cause = f"{place} had no meaning: no build of that revision was possible"
            yield Classification(looked.name, Kind.BASE, place, cause)
        for folder, file in self.converted.items():
            if inside(looked.folder, [folder]) or inside(folder, [looked.folder]):
                cause = f"{file} changed: what it makes of files at a checkout is not told"
                yield Classification(looked.name, Kind.DEPENDENCY, file, cause)

    def configuration(self, project: Project) -> Iterator[Classification]:
        """The files at the root that say what is built and run, where they are not as they were."""
        before = {name for name in CONFIGURATION if self.revision.file(name) is not None}
        for name in sorted(self.differing.intersection(CONFIGURATION)):
            yield configuration_change(name, before, dict(project.files))

    def _before(self, looked: Looked) -> Side:
        project = self.then.given(looked.project) if self.then else looked.project
        return as_committed(looked, self.revision, project)

    def _given(self, looked: Looked) -> Iterator[Classification]:
        """What kiro.yaml itself changes. Build arguments and base images are told by who sees them."""
        if self.then is None:
            cause = f"what {FILE} gave to builds of that revision is not known: {self.unread}"
            yield Classification(looked.name, Kind.BASE, FILE, cause)
            return
        for cause in differences(self.then, self.now, looked.recipe):
            yield Classification(looked.name, Kind.CONFIG, FILE, cause)


@dataclass(frozen=True)
class LastBuild:
    """What each image was last built from."""

    revision: ClassVar[None] = None
    differing: ClassVar[frozenset[str]] = frozenset()
    words: ClassVar[str] = "its last build"

    def classified(self, looked: Looked) -> Iterator[Classification]:
        """What changed since; all of a service of which no build is known."""
        before = as_built(looked)
        if before is None:
            cause = f"no build of {looked.name} is on record here: all of it is built"
            yield Classification(looked.name, Kind.BASE, looked.folder or ".", cause)
        else:
            yield from compared(looked.scope(before), before, looked.side)


LAST_BUILD = LastBuild()
Against: TypeAlias = Since | LastBuild


def since(stack: ExitStack, project: Project, name: str, environ: Mapping[str, str]) -> Since:
    """A revision by its name, open until the stack's end; UsageError if there is none."""
    commit = git.resolved(project.root, process.run, name)
    prefix = git.prefix(project.root, process.run)
    untracked = git.untracked(project.root, process.run)
    differing = git.changed(project.root, process.run, commit) | untracked
    objects = Objects(stack.enter_context(git.opened(project.root)).read)
    found = objects.commit(commit)
    top = found.tree if found else ""
    tree = objects.below(top, prefix)
    same = {
        f"{path}/{file}"
        for path, at in objects.submodules(tree).items()
        if path not in differing
        for file in (*git.as_committed(project.root / path, process.run, at), ".git")
    }
    revision = Revision(objects, tree, differing, frozenset(same))
    then, unread = _said(revision, project, environ, prefix)
    converted = dict(_converted(revision, objects, top, project.root, prefix))
    return Since(revision, commit, then, said_now(project), unread, converted)


def _said(
    revision: Revision, project: Project, environ: Mapping[str, str], prefix: str
) -> tuple[Said | None, str]:
    if prefix and not revision.has(FILE):
        return None, "it had none here, so that its project may have been another"
    try:
        return said_then(revision, project, environ), ""
    except ConfigError as trouble:
        return None, f"{trouble.place or FILE}: {trouble.message}"


def _converted(
    revision: Revision, objects: Objects, top: str, root: Path, prefix: str
) -> Iterator[tuple[str, str]]:
    """The folders of the project that a changed file of attributes is about, with that file."""
    for path in sorted(revision.differing):
        if posixpath.basename(path) == NAME and _converts(revision.file(path), root / path):
            yield posixpath.dirname(path), path
    whole = tree_at(objects, objects.files(top)) if prefix and top else None
    above = prefix.split("/") if whole else []
    for number in range(len(above)):
        then = "/".join((*above[:number], NAME))
        now = f"{'../' * (len(above) - number)}{NAME}"
        if whole is not None and _converts(whole.read(then), root / now):
            yield "", now


def _converts(then: bytes | None, now: Path) -> bool:
    """Whether a file of attributes has checkouts make other files than it had."""
    try:
        text = now.read_bytes()
    except OSError:
        text = b""
    return converting(then or b"") != converting(text)
