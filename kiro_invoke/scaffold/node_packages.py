"""The packages of a project of Node's: which there are, which of them others are built from, where they lead to."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from functools import lru_cache
from posixpath import dirname, normpath
from typing import Any

from kiro_invoke.scaffold.managers import Manager, folder_below
from kiro_invoke.scaffold.node_facts import MANIFEST, Project
from kiro_invoke.scaffold.repository import Repository, matches, placed, table, up

_LIFECYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare",
              "pnpm:devPreinstall")  # fmt: skip
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies")
#: A dependency that is a folder or an archive: how it is written, where it lies.
_LOCAL = re.compile(r"(?:(?P<how>file|link|portal):|(?=\.{1,2}/))(?P<path>.+)")
_ARCHIVE = (".tgz", ".tar.gz", ".tar")


def root_of(repository: Repository, folder: str) -> tuple[str, bool]:
    """The folder of the workspace that a package belongs to, and whether there is one."""
    for above in up(folder):
        patterns = _patterns(repository, above)
        if patterns is not None and (above == folder or matches(folder, above, patterns)):
            return above, True
    return folder, False


def _patterns(repository: Repository, folder: str) -> list[str] | None:
    said = repository.json(placed(folder, MANIFEST)).get("workspaces")
    said = said.get("packages") if isinstance(said, dict) else said
    if not isinstance(said, list):
        said = repository.yaml(placed(folder, "pnpm-workspace.yaml")).get("packages")
    return [str(one) for one in said] if isinstance(said, list) else None


def manifests(project: Project) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """The packages that are installed together: folder and manifest."""
    return _installed_together(project.repository, project.root, project.is_workspace)


@lru_cache(maxsize=256)
def _installed_together(
    repository: Repository, root: str, is_workspace: bool
) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    start = f"{root}/" if root else ""
    return tuple(
        (folder, repository.json(placed(folder, MANIFEST)))
        for folder in repository.named(MANIFEST)
        if folder == root
        or (is_workspace and folder.startswith(start) and root_of(repository, folder)[0] == root)
    )


def reads_any_file(project: Project) -> bool:
    """Whether an install may read any file: by a script, to compile an addon, or to copy packages of the workspace."""
    repository, start = project.repository, f"{project.root}/" if project.root else ""
    if any(folder.startswith(start) or folder == project.root for folder in repository.named("binding.gyp")):
        return True
    within = (
        repository.json(placed(folder, MANIFEST))
        for folder in repository.named(MANIFEST)
        if folder.startswith(start) or folder == project.root
    )
    for manifest in within:
        if any(name in table(manifest.get("scripts")) for name in _LIFECYCLE):
            return True
        if "injected" in str(manifest.get("dependenciesMeta")):
            return True
    return "injectWorkspacePackages" in repository.read(placed(project.root, "pnpm-workspace.yaml"))


def copied(project: Project, kind: Manager) -> tuple[str, ...]:
    """What find takes for the files of folders that an install copies: those that are named by `file:`. npm links."""
    found = (
        folder_below(project.root, normpath(placed(folder, path)))
        for folder, manifest in manifests(project)
        for how, path in _local(manifest)
        if how == "file" and not path.endswith(_ARCHIVE)
    )
    return tuple(f"-path {shlex.quote(f'./{each}/*')}" for each in dict.fromkeys(found) if kind.name != "npm")


def leads_out(project: Project) -> str:
    """A dependency that lies outside of what the project's builds are sent; "": none does."""
    for folder, manifest in manifests(project):
        for _how, path in _local(manifest):
            place = normpath(placed(folder, path))
            within = not project.root or place == project.root or place.startswith(f"{project.root}/")
            if place.startswith(("..", "/", "~")) or not within:
                return path
    return ""


def _local(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    replaced = table(manifest.get("pnpm")).get("overrides")
    said = [manifest.get(key) for key in (*_DEPENDENCIES, "resolutions", "overrides")]
    for values in (*said, replaced):
        for value in table(values).values():
            if match := _LOCAL.match(str(value)):
                yield match["how"] or "file", match["path"]


def needed_build(project: Project, kind: Manager) -> str:
    """The command, run in the context, that builds the workspace's packages which one is built from; "" for none."""
    if not project.is_workspace:
        return ""
    if kind.name == "pnpm":  # it has an order of its own, and knows of scripts that come later
        linked = any(str(value).startswith("workspace:") for value in project.dependencies.values())
        named = shlex.quote(f"{project.name}^...")
        return f"pnpm --filter {named} run --if-present build" if linked else ""
    known = {str(one.get("name")): (folder, one) for folder, one in manifests(project)}
    order: dict[str, None] = {}

    def add(name: str, above: frozenset[str]) -> None:
        _folder, manifest = known[name]
        for key in (*_DEPENDENCIES, "peerDependencies"):
            for each in table(manifest.get(key)):
                if each in known and each not in order and each not in above:
                    add(each, above | {each})
        order[name] = None

    if project.name in known:
        add(project.name, frozenset({project.name}))
    built = (
        shlex.join(kind.script("build", folder_below(project.root, known[name][0]), name))
        for name in order
        if name != project.name and _is_built(project.repository, *known[name])
    )
    return " && ".join(built)


def _is_built(repository: Repository, folder: str, manifest: Mapping[str, Any]) -> bool:
    """Whether others take of a package what its build script makes."""
    if "build" not in table(manifest.get("scripts")):
        return False
    taken = [*_texts([manifest.get(key) for key in ("main", "module", "exports", "types", "bin")])]
    paths = (normpath(placed(folder, path)) for path in taken if "*" not in path)
    return not all(repository.has(path) or repository.has(f"{path}.js") for path in paths)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def settings_outside(project: Project) -> tuple[str, ...]:
    """What a package's TypeScript settings stand on outside of what its build is sent, as notes."""
    notes = []
    for path in project.repository.below(project.folder, ".json"):
        name = path.rpartition("/")[2]
        if not (name.startswith("tsconfig") and dirname(path) == project.folder):
            continue
        text = project.repository.read(path)
        for match in re.finditer(r"\"(?:extends|path)\"\s*:\s*\"(\.\./[^\"]+)\"", text):
            place = normpath(placed(project.folder, match[1]))
            if project.root and not f"{place}/".startswith(f"{project.root}/"):
                line = text.count("\n", 0, match.start()) + 1
                notes.append(
                    f"{path}:{line}: {match[1]} lies outside of what its build is sent: have a workspace hold both,"
                    " or copy it"
                )
    return tuple(notes)
