"""The files of `--output`: what each holds follows from its extension."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from kiro_invoke.engine.files import write_whole
from kiro_invoke.model.errors import KiroError, UsageError
from kiro_invoke.plain import clean


def check_outputs(given: Iterable[str], known: Collection[str], *, folder: Path) -> tuple[Path, ...]:
    """The files that are named, from `folder` on. Called before any work, for what cannot be written after it.

    `known` are the extensions that can be written (".json", ...), in any case. UsageError for another one, for a
    folder, and where a folder's place is taken by a file.
    """
    return tuple(_checked(each, known, folder) for each in given)


def write_outputs(paths: Sequence[Path], makers: Mapping[str, Callable[[], str]]) -> None:
    """Write each file whole, with the text of its extension's maker, which is asked once. KiroError if it cannot be."""
    texts: dict[str, str] = {}
    for path in paths:
        extension = path.suffix.lower()
        if extension not in texts:
            # a name of any bytes can be in it
            texts[extension] = makers[extension]().encode(errors="replace").decode()
        try:
            write_whole(path, texts[extension])
        except OSError as error:
            raise KiroError(
                f"cannot be written: {error.strerror}", file=str(path), fix="give another --output"
            ) from None


def _checked(given: str, known: Collection[str], folder: Path) -> Path:
    path, shown = folder / given, clean(given)
    if path.suffix.lower() not in known:
        raise UsageError(
            f'--output "{shown}": its extension tells no format', fix=f"end its name with {', '.join(known)}"
        )
    if path.is_dir():
        raise UsageError(f'--output "{shown}": is a folder', fix="name a file")
    above = next(each for each in path.parents if each.exists())
    if not above.is_dir():
        raise UsageError(
            f'--output "{shown}": {clean(above.name)} is no folder', fix="name a file in a folder"
        )
    try:
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise UsageError(
            f'--output "{shown}": cannot be written: {error.strerror}', fix="name a file in another folder"
        ) from None
    return path
