"""A repository on disk: which files it has, what they hold, and which services are in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.config import find_root
from kiro_invoke.doctor.bases import satisfies
from kiro_invoke.model.errors import ConfigError, UsageError
from kiro_invoke.scaffold.found import Found, Passed, apart
from kiro_invoke.scaffold.node import node_services
from kiro_invoke.scaffold.repository import LEFT_OUT, Repository
from kiro_invoke.scaffold.rust import rust_services

_HIDDEN = frozenset({".cargo", ".yarn", ".vscode", ".github"})
#: Among sources a module may have the name of build output.
_LEFT_OUT_IN_SRC = LEFT_OUT - {"target", "dist", "build"}
_MOST = 200_000
_LARGEST = 2_000_000


@dataclass(frozen=True)
class Looked:
    """A repository, and what is in it."""

    root: Path
    repository: Repository
    services: tuple[Found, ...]
    passed: tuple[Passed, ...]


def look(folder: Path, environ: Mapping[str, str]) -> Looked:
    """What is in the repository that a folder lies in."""
    root = find_root(folder)
    if root == Path.home() or root == Path(root.anchor):
        raise UsageError(f"{root} is no repository", fix="start in the folder of your project")
    paths = frozenset(paths_of(root))
    repository = Repository(root.name, paths, lambda path: _detected_text(root, path, paths))
    found = [
        *rust_services(repository, _cargo_credentials(environ)),
        *node_services(repository, satisfies, _own_npmrc(environ)),
    ]
    named = list(apart(found, root.name))
    services = tuple(one for one in named if isinstance(one, Found))
    return Looked(root, repository, services, tuple(one for one in named if isinstance(one, Passed)))


def paths_of(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        left_out = _LEFT_OUT_IN_SRC if "src" in Path(folder).relative_to(root).parts else LEFT_OUT
        folders[:] = sorted(
            name for name in folders if name not in left_out and (not name.startswith(".") or name in _HIDDEN)
        )
        for name in names:
            count += 1
            if count > _MOST:
                raise ConfigError(
                    f"more than {_MOST} files", file=str(root), fix="start in the folder of your project"
                )
            yield os.fsencode(Path(folder, name).relative_to(root)).decode("utf-8", "replace")


def _detected_text(root: Path, path: str, paths: frozenset[str]) -> str:
    if path not in paths:
        return ""
    with suppress(OSError, UnicodeDecodeError, ValueError):
        if (root / path).stat().st_size <= _LARGEST or path.endswith((".lock", "lock.yaml", "lock.json")):
            return (root / path).read_text(encoding="utf-8")
    return ""


def text_of(root: Path, path: str) -> str | None:
    """A file as it is, line ends included; None where there is none. ConfigError where it is no text, or elsewhere."""
    file = root / path
    if not os.path.lexists(file):
        return None
    if not file.resolve().is_relative_to(root.resolve()):
        raise ConfigError(
            "leads out of the repository", file=path, fix="remove the link, or write the file yourself"
        )
    try:
        return file.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path, fix="move it away, or mend it") from None


def own_text(root: Path, path: str) -> str | None:
    """A file as it is; None where it cannot be one that was written here: it is no text, or elsewhere."""
    try:
        return text_of(root, path)
    except ConfigError:
        return None


def _cargo_credentials(environ: Mapping[str, str]) -> Mapping[str, str]:
    home = environ.get("CARGO_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cargo")
    found = (Path(home, name) for name in ("credentials.toml", "credentials"))
    return {file.name: str(file) for file in found if file.is_file()}


def _own_npmrc(environ: Mapping[str, str]) -> str:
    """A person's own .npmrc, where it holds credentials."""
    file = Path(
        environ.get("NPM_CONFIG_USERCONFIG") or Path(environ.get("HOME") or "~").expanduser() / ".npmrc"
    )
    with suppress(OSError, UnicodeDecodeError):
        if "_auth" in file.read_text(encoding="utf-8"):
            return "~/.npmrc" if not environ.get("NPM_CONFIG_USERCONFIG") else str(file)
    return ""
