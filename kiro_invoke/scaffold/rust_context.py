"""What a project of Cargo's reads from outside of what its builds are sent, or in ways that Dockerfiles do not know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from posixpath import dirname, normpath
from typing import Any

from kiro_invoke.scaffold.repository import Repository, line_of, placed, table

_KINDS = ("dependencies", "build-dependencies", "dev-dependencies")
_CONFIGS = (".cargo/config.toml", ".cargo/config")
_INCLUDED = re.compile(r"\binclude(?:_str|_bytes)?!\(\s*\"(?P<path>\.\./[^\"]+)\"")
_NAMED = re.compile(r"\"(?P<path>\.\./[^\"]*)\"")


def leads_out(members: Mapping[str, Mapping[str, Any]], root: str) -> str:
    """A path that one of a workspace's manifests depends on and that leads out of its build's context; "" for none."""
    for folder, manifest in members.items():
        for path in _paths(manifest):
            place = normpath(placed(folder, path))
            if place.startswith(("..", "/")) or (root and not f"{place}/".startswith(f"{root}/")):
                return path
    return ""


def _paths(manifest: Mapping[str, Any]) -> Iterator[str]:
    owners = [manifest, table(manifest.get("workspace")), *table(manifest.get("target")).values()]
    tables = [table(owner).get(kind) for owner in owners for kind in _KINDS]
    for dependencies in (*tables, *table(manifest.get("patch")).values(), manifest.get("replace")):
        for dependency in table(dependencies).values():
            path = table(dependency).get("path")
            if isinstance(path, str):
                yield path


def not_known(repository: Repository, root: str) -> str:
    """Why no Dockerfile is written for a project, whatever its packages are; "" where one is."""
    for name in _CONFIGS:
        settings = repository.toml(placed(root, name))
        for source in table(settings.get("source")).values():
            if "directory" in table(source) or "local-registry" in table(source):
                return f"{name} has crates in a folder (vendored): what is written here fetches them"
        if settings.get("paths") or settings.get("patch"):
            return f"{name} puts other crates in the place of some (paths, patch): say it in Cargo.toml"
    return ""


def notes(repository: Repository, folder: str, root: str) -> tuple[str, ...]:
    """What a person has to see to, of the package in `folder`."""
    found = list(_outside(repository, folder, root))
    lock = placed(root, "Cargo.lock")
    text = repository.read(lock)
    if (at := text.find('source = "git+ssh:')) >= 0:
        found.append(
            f"{lock}:{line_of(text, at)}: a crate comes by ssh: in both Dockerfiles the step with `cargo fetch` needs"
            " --mount=type=ssh, and kiro.yaml `ssh: [default]`"
        )
    for name in _CONFIGS:
        settings = repository.toml(placed(root, name))
        registries = [*table(settings.get("registries")).values(), settings.get("registry")]
        if any("token" in table(one) for one in registries):
            path = placed(root, name)
            found.append(
                f"{path}: it holds a token, which gets into layers: have it in Cargo's credentials.toml"
            )
    return tuple(found)


def _outside(repository: Repository, folder: str, root: str) -> Iterator[str]:
    """Files outside of the context that sources include, or that a build script names."""
    for path in repository.below(folder, ".rs"):
        is_script = path == placed(folder, "build.rs")
        text = repository.read(path)
        for match in (_NAMED if is_script else _INCLUDED).finditer(text):
            place = normpath(placed(folder if is_script else dirname(path), match["path"]))
            inner = not root or f"{place}/".startswith(f"{root}/")
            if not inner and any(f"{one}/".startswith(f"{place}/") for one in repository.paths):
                yield (
                    f"{path}:{line_of(text, match.start())}: {match['path']} lies outside of what its build is sent:"
                    " have a workspace hold both, or copy it"
                )
