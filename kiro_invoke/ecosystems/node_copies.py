"""Folders of a project that an install copies into node_modules: what lies in them is installed, and no source."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable

from kiro_invoke.ecosystems.node_manifest import DEPENDENCIES, in_folder
from kiro_invoke.ecosystems.node_parts import (
    MANIFEST,
    Doubt,
    Project,
    is_installed,
    json_object,
    quoted,
    shown,
    texts,
)

_ARCHIVES = (".tgz", ".tar.gz", ".tar")
#: No program runs by them.
_TEXTS = (".md", ".markdown")


def copies(project: Project, folders: Iterable[str], reads: Callable[[str], bool]) -> None:
    """Gather the folders that the packages in `folders` depend on by `file:`. Doubt where one holds a file that is not
    known to be an input by its name, or a package of the workspace is copied.
    """
    for folder in folders:
        path = posixpath.join(folder, MANIFEST)
        text = project.text(path) or "{}"
        if '"injected"' in text:
            raise Doubt(path, "injected: the install copies a package of the workspace")
        if "file:" in text:
            for copied in _copied(folder, json_object(path, text)):
                _counts(project, path, copied, reads)


def _copied(folder: str, manifest: dict[str, object]) -> Iterable[str]:
    for key in (*DEPENDENCIES, "resolutions"):
        for wanted in texts(manifest.get(key)).values():
            if wanted.startswith("file:") and not wanted.endswith(_ARCHIVES):
                yield in_folder(folder, wanted.removeprefix("file:"))


def _counts(project: Project, manifest: str, folder: str, reads: Callable[[str], bool]) -> None:
    start = f"{folder}/"
    for path in sorted(project.names) if folder else ():
        if not path.startswith(start) or is_installed(path) or path.endswith(_TEXTS):
            continue
        if not reads(path):
            raise Doubt(manifest, f"the install copies {quoted(folder)}, where {shown(path)} lies")
        project.counts_file(path)
