"""Which manifests a recipe holds: the mirror of how `cargo metadata --no-deps` finds a workspace's members.

Those that the root names, and what they depend on by a path, if that lies in the workspace and is not excluded. Where
the root manifest makes no workspace, it stands alone.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kiro_invoke.ecosystems.cargo_targets import Names, joined
from kiro_invoke.ecosystems.cargo_text import Doubt, Table, Value, line_of, parse, text_of
from kiro_invoke.model.fingerprint import Tree

MANIFEST = "Cargo.toml"
DEPENDENCIES = ("dependencies", "dev-dependencies", "build-dependencies")
_WRITTEN = (*DEPENDENCIES, "dev_dependencies", "build_dependencies")
_SPECIAL = re.compile(r"[*?[]")
_PIECE = re.compile(r"\[(?P<not>!?)(?P<inner>\]?[^]]*)\]|.", re.DOTALL)
_REPEATED = re.compile(r"(?<![^/])(?:\*\*/){2,}")
_RANGE = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_OUTSIDE = re.compile(r"^(/|\.\.(/|$))")


class Manifest(NamedTuple):
    """A manifest's path and folder in the tree, its text, and what it says."""

    path: str
    folder: str
    raw: bytes
    document: Table


class Wanted(NamedTuple):
    """The folder of a crate that must be there, and who says so: a manifest and the keys in it."""

    folder: str
    by: Manifest
    keys: tuple[str, ...]

    def doubt(self, what: str) -> Doubt:
        """What is wrong with it."""
        return Doubt(self.by.path, line_of(self.by.raw, self.keys), what)


def members(tree: Tree, names: Names) -> list[Manifest]:
    """The manifests of a recipe, the root's first."""
    root = _load(tree, "")
    if root is None:
        raise Doubt(MANIFEST, 1, "is not there")
    workspace = root.document.get("workspace")
    if not isinstance(workspace, dict):
        if "workspace" in _table(root.document.get("package")):
            raise Doubt(MANIFEST, line_of(root.raw, ["package", "workspace"]), "its workspace lies elsewhere")
        return [root]
    found = {"": root}
    queue = [*_path_dependencies(root, root), *_named(root, workspace, names)]
    for wanted in queue:  # grows
        if wanted.folder in found or _is_excluded(wanted.folder, workspace):
            continue
        if _OUTSIDE.match(wanted.folder):
            raise wanted.doubt(f"`{wanted.folder}` lies outside the service's folder")
        member = _load(tree, wanted.folder)
        if member is None:
            raise wanted.doubt(f"there is no `{joined(wanted.folder, MANIFEST)}`")
        found[wanted.folder] = member
        queue.extend(_path_dependencies(member, root))
    return list(found.values())


def _load(tree: Tree, folder: str) -> Manifest | None:
    path = joined(folder, MANIFEST)
    raw = text_of(tree, path)
    return None if raw is None else Manifest(path, folder, raw, parse(path, raw))


def _named(root: Manifest, workspace: Table, names: Names) -> Iterator[Wanted]:
    """The folders that the workspace lists; where a pattern matches nothing, itself."""
    for pattern in _texts(workspace.get("members")):
        path = _normal("", pattern)
        found = [path] if not _SPECIAL.search(path) else list(_matching(path, names))
        for folder in found or [path]:
            if folder in names.folders or not names.is_file(folder):
                yield Wanted(folder, root, ("workspace", "members", pattern))
            elif names.leads_away(folder):
                raise Doubt(folder, 1, "a link, and what it leads to is not known")


def _matching(pattern: str, names: Names) -> Iterator[str]:
    """What a pattern of the crate `glob` matches: `**` is any number of folders; the others stay within one name."""
    parts = _REPEATED.sub("**/", pattern).split("/")
    text = "".join("(?:[^/]+/)*" if part == "**" else f"{_PIECE.sub(_translated, part)}/" for part in parts)
    wanted = re.compile(text.removesuffix("/"), re.DOTALL)
    begins = _SPECIAL.split(pattern)[0].rpartition("/")[0]
    for folder, inner in names.folders.items():
        if folder.startswith(begins):
            yield from filter(wanted.fullmatch, (joined(folder, name) for name in inner))


def _translated(piece: re.Match[str]) -> str:
    inner = piece["inner"]
    if inner is None:
        return {"*": "[^/]*", "?": "[^/]"}.get(piece[0], re.escape(piece[0]))
    chosen = [
        f"{re.escape(low)}-{re.escape(high)}" if low else re.escape(one)
        for low, high, one in _RANGE.findall(inner)
        if low <= high
    ]
    if not chosen:
        return "[^/]" if piece["not"] else "(?!)"
    return f"(?!/)[{'^' if piece['not'] else ''}{''.join(chosen)}]"


def _is_excluded(folder: str, workspace: Table) -> bool:
    """Whether `exclude` names it, and `members` does not by its very name."""
    return _below_any(folder, workspace.get("exclude")) and not _below_any(folder, workspace.get("members"))


def _below_any(folder: str, places: Value) -> bool:
    wanted = folder.split("/")
    for place in _texts(places):
        parts = [part for part in place.split("/") if part not in ("", ".")]
        if wanted[: len(parts)] == parts and not place.startswith("/"):
            return True
    return False


def _path_dependencies(manifest: Manifest, root: Manifest) -> Iterator[Wanted]:
    for keys, name, said in _said(manifest.document):
        wanted = Wanted(manifest.folder, manifest, (*keys, name, "path"))
        place = _table(said).get("path")
        if _table(said).get("workspace") is True:
            inherited = _table(_table(root.document.get("workspace")).get("dependencies")).get(name)
            wanted = Wanted("", root, ("workspace", "dependencies", name, "path"))
            place = _table(inherited).get("path")
        if isinstance(place, str):
            yield wanted._replace(folder=_normal(wanted.folder, place))


def _said(document: Table) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """All dependencies of a manifest: the keys of their table, name, and what is said of them."""
    places: list[tuple[tuple[str, ...], Mapping[str, Any]]] = [((), document)]
    places += [(("target", key), _table(value)) for key, value in _table(document.get("target")).items()]
    for keys, place in places:
        for kind in _WRITTEN:
            for name, said in _table(place.get(kind)).items():
                yield (*keys, kind), name, said


def _normal(folder: str, path: str) -> str:
    """A path of a folder in the tree, as seen from another; `..` leads on from the outermost."""
    normal = posixpath.normpath(posixpath.join(folder, path))
    return "" if normal == "." else normal


def _table(value: Value) -> Table:
    return value if isinstance(value, dict) else {}


def _texts(value: Value) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
