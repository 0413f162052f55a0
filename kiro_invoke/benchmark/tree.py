"""Copies of what is built, so that nothing is ever edited in a person's folders."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from kiro_invoke.benchmark.runner import CannotMeasure
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.changes.context import IGNORE_FILE, Rules, rules_of, walk
from kiro_invoke.model.service import Project, Service

#: The state folder of a copy, which the tool makes itself.
_STATE = ".kiro"


def moved(project: Project, root: Path, images: str) -> Project:
    """The same project in another folder, with images of other names: those of a person are left alone."""

    def there(path: Path) -> Path:
        return root / path.relative_to(project.root)

    def service(one: Service) -> Service:
        return replace(
            one,
            context=there(one.context),
            image=f"{images}/{one.name}",
            dockerfile=there(one.dockerfile) if one.dockerfile else None,
            fast_dockerfile=there(one.fast_dockerfile) if one.fast_dockerfile else None,
        )

    return replace(project, root=root, services=tuple(map(service, project.services)))


@dataclass
class Tree:
    """A copy of a project's contexts and Dockerfiles, in a folder of the tool's own.

    What is written gets the present time: builds that trust times would take new content for old.
    """

    root: Path
    _unedited: dict[Path, str] = field(default_factory=dict)

    def copy(self, project: Project, recipes: Sequence[Recipe], more: Sequence[tuple[Path, Path]]) -> str:
        """Make the copy equal to the project, by content; a hash of all that is in it.

        `more` are contexts with further Dockerfiles, whose ignore rules let other files through.
        """
        self._unedited.clear()
        wanted = _wanted(project, recipes, more)
        self._remove_others(wanted)
        told = hashlib.sha256()
        for path in sorted(wanted):
            source, place = wanted[path], self.root / path
            _copy(source, place)
            told.update(os.fsencode(path) + b"\0" + _what(place) + b"\0")
        return told.hexdigest()

    def read(self, path: Path) -> str:
        """The unedited text of a file, whatever its bytes are. CannotMeasure if it is no file of the copy."""
        if path not in self._unedited:
            self._check(path)
            return _text(path)
        return self._unedited[path]

    def write(self, texts: Mapping[Path, str]) -> None:
        """Put these texts in place of what is there, and everything else back to what it was.

        CannotMeasure for what is no file of the copy: a link may lead to a person's own.
        """
        for path in texts:
            if path not in self._unedited:
                self._check(path)
                self._unedited[path] = _text(path)
        for path, before in self._unedited.items():
            text = texts.get(path, before)
            if _text(path) != text:
                _rewrite(path, text)

    def _check(self, path: Path) -> None:
        if not path.is_file() or not path.resolve().is_relative_to(self.root.resolve()):
            shown = path.relative_to(self.root)
            raise CannotMeasure(f"{shown} is no file that the build context holds itself")

    def _remove_others(self, wanted: Mapping[str, Path]) -> None:
        folders = {str(parent) for path in wanted for parent in Path(path).parents}
        for folder, names, files in os.walk(self.root, topdown=True):
            here = Path(folder)
            if here == self.root and _STATE in names:
                names.remove(_STATE)
            for name in files:
                path = here / name
                if str(path.relative_to(self.root)) not in wanted:
                    path.unlink()
            for name in list(names):
                path = here / name
                relative = str(path.relative_to(self.root))
                if path.is_symlink():
                    names.remove(name)
                    if relative not in wanted:
                        path.unlink()
                elif relative not in folders and relative not in wanted:
                    names.remove(name)
                    shutil.rmtree(path)


def _wanted(
    project: Project, recipes: Sequence[Recipe], more: Sequence[tuple[Path, Path]]
) -> dict[str, Path]:
    """Path in the copy -> the person's file or folder."""
    found: dict[str, Path] = {}
    built = [(recipe.service.context, recipe.path) for recipe in recipes]
    for context, dockerfile in (*built, *more):
        rules = rules_of(context, dockerfile)
        files = {file: file for file in _context(context, rules, project.state)}
        # what a build is made by is read where it leads to: in the copy, a link may lead nowhere
        made_by = (context / IGNORE_FILE, dockerfile, *([rules.file] if rules.file else []))
        files |= {file: file.resolve() for file in made_by if file.is_file()}
        found.update(
            (str(file.relative_to(project.root)), real)
            for file, real in files.items()
            if file.is_relative_to(project.root)
        )
    return found


def _context(context: Path, rules: Rules, state: Path) -> Iterator[Path]:
    for here in walk(context, rules, skip=state):
        if here.path:
            yield context / here.path
        for name, _ in here.entries:
            yield context / f"{here.prefix}{name}"


def _copy(source: Path, place: Path) -> None:
    """A file, link or folder; nothing is written where it is there already."""
    if source.is_symlink():
        text = source.readlink()
        if not (place.is_symlink() and place.readlink() == text):
            _clear(place)
            place.symlink_to(text)
        return
    if source.is_dir():
        if place.is_symlink() or not place.is_dir():
            _clear(place)
            place.mkdir(parents=True)
        return
    if (
        place.is_symlink()
        or place.is_dir()
        or not place.exists()
        or not filecmp.cmp(source, place, shallow=False)
    ):
        _clear(place)
        shutil.copyfile(source, place)
    shutil.copymode(source, place)


def _rewrite(path: Path, text: str) -> None:
    """A new file in the old one's place, which may be read-only."""
    mode = path.stat().st_mode
    path.unlink()
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(text)
    path.chmod(mode)


def _text(path: Path) -> str:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def _clear(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    with suppress(FileNotFoundError):
        place.unlink()


def _what(place: Path) -> bytes:
    if place.is_symlink():
        return b"l" + os.fsencode(place.readlink())
    if place.is_dir():
        return b"d"
    return b"f" + hashlib.sha256(place.read_bytes()).digest()
