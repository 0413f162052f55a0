"""Copies of the services, so that nothing is ever edited in a person's folders."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.edits import Edit
from benchmarks.variants import SERVICES

_CONFIG = "kiro.yaml"


class Tree:
    """The services in a folder of their own: `work` is edited and built, `unedited` is what resets lead to.

    Every file that is written gets the present time: builds that trust times would take new content for old.
    """

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self._unedited = folder / "unedited"
        self._edited: dict[str, set[str]] = {}

    def copy_from(self, repository: Path) -> None:
        """Make both copies anew. What the tool remembers of `work` stays, as it does in a person's folder."""
        self._edited.clear()
        for service in SERVICES:
            _copy(repository / service, self._unedited / service)
            _copy(repository / service, self.work / service)
        shutil.copyfile(repository / _CONFIG, self.work / _CONFIG)

    def forget_state(self) -> None:
        """Remove what the tool remembers of this tree."""
        shutil.rmtree(self.work / ".kiro", ignore_errors=True)

    def texts(self, service: str, files: Sequence[str]) -> dict[str, str]:
        """The unedited texts of files of a service."""
        return {file: (self._unedited / service / file).read_text(encoding="utf-8") for file in files}

    def write(self, service: str, changes: Mapping[str, str]) -> None:
        """Put the service into its unedited state, but with these texts."""
        touched = self._edited.get(service, set()) | changes.keys()
        wanted = {**self.texts(service, sorted(touched)), **changes}
        for file, text in wanted.items():
            path = self.work / service / file
            if path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
        self._edited[service] = set(changes)

    def edit(self, service: str, edit: Edit, number: int) -> None:
        """Put the service into its unedited state, but with this edit."""
        self.write(service, edit.change(self.texts(service, edit.files), number))

    def edited(self, service: str) -> dict[str, str]:
        """The present texts of the files that differ from the unedited state."""
        return {
            file: (self.work / service / file).read_text(encoding="utf-8")
            for file in sorted(self._edited.get(service, ()))
        }


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)

    def left_out(folder: str, names: list[str]) -> set[str]:
        data = {"data"} if Path(folder) == source else set()
        return {"target", "node_modules", "dist", *data}.intersection(names)

    shutil.copytree(source, target, symlinks=True, ignore=left_out, copy_function=shutil.copy)
