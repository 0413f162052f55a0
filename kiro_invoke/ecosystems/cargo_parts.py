"""A manifest's parts: what of it the recipe holds, by names for people, and what it leaves out."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Any

from kiro_invoke.ecosystems.cargo_inference import BUILD_SCRIPT, Found, targets
from kiro_invoke.ecosystems.cargo_lock import MASK
from kiro_invoke.ecosystems.cargo_manifest import normalized
from kiro_invoke.ecosystems.cargo_takes import Odd
from kiro_invoke.ecosystems.cargo_targets import FOLDERS, Names, complete, joined
from kiro_invoke.ecosystems.cargo_text import Doubt, Table, Value, digest, disorder, line_of, shown, spelled
from kiro_invoke.ecosystems.cargo_workspace import DEPENDENCIES, Manifest
from kiro_invoke.model.fingerprint import Part

#: What people call keys that do not speak for themselves.
_PACKAGE = {"name": "package name", "build": "`build`"}
_WORKSPACE = {
    "members": "workspace members",
    "default-members": "default members",
    "exclude": "excluded members",
    "resolver": "workspace resolver",
    "metadata": "workspace metadata",
}
_TABLES = {"feature": "features", "profile": "profile"}
_ORDERS = {"example": "order of the examples", "test": "order of the tests", "bench": "order of the benches"}
_PRODUCTS = ("lib", *FOLDERS)
FORMATTING = "comments or formatting"


class Crate:
    """A manifest of the recipe, on its way to parts."""

    def __init__(self, said: Manifest, root: Manifest, names: Names) -> None:
        """Doubt if cargo-chef cannot take it."""
        self.said, self.dropped = said, dict[tuple[str, ...], Any]()
        try:
            self.manifest = normalized(said.document, self.dropped)
            self.package: Table = self.manifest.get("package", {})
            self.cargo = self._targets(root, names) if self.package else []
            complete(self.manifest, names, said.folder)
        except Odd as odd:
            what = f"`{odd}` is missing, or nothing that cargo can take"
            raise Doubt(said.path, line_of(said.raw, odd.keys), what) from None
        except LookupError as error:
            raise Doubt(said.path, line_of(said.raw, ["lib"]), str(error)) from None

    def _targets(self, root: Manifest, names: Names) -> list[Found]:
        edition = self.package.get("edition", "2015")
        if isinstance(edition, dict):
            inherited = root.document.get("workspace", {}).get("package", {})
            edition = inherited.get("edition", "2015") if isinstance(inherited, dict) else "2015"
        return targets(self.manifest, self.said.document, names, self.said.folder, str(edition))

    @property
    def name(self) -> str | None:
        """The package's name; None for a workspace without a package of its own."""
        return self.package.get("name")

    def parts(self, local: Collection[str]) -> tuple[dict[Part, str], dict[Part, str]]:
        """What the recipe holds of it, and what it does not. `local`: the names of all packages in the recipe."""
        file, hidden = self.said.path, dict[str, Any]()
        _mask(self.manifest, local, hidden)
        said = {Part(file, what): shown(value) for what, value in _said(self.manifest)}
        parts = said | dict(_products(self.manifest, self.cargo, self.said))
        parts |= {Part(file, what): shown(value) for what, value in spelled(self.said.raw) if value}
        hidden |= {_dropped(keys): value for keys, value in self.dropped.items()}
        unseen = {Part(file, what): shown(value) for what, value in hidden.items()}
        unseen[Part(file, FORMATTING)] = digest(self.said.raw)
        return parts, unseen


def _dropped(keys: tuple[str, ...]) -> str:
    return {("lints",): "lints", ("workspace", "lints"): "workspace lints"}.get(keys, f"`{'.'.join(keys)}`")


def _mask(manifest: Table, local: Collection[str], hidden: dict[str, Any]) -> None:
    """Give local crates the version that cargo-chef gives them, and keep theirs as `hidden`."""
    workspace = manifest.get("workspace", {})
    for what, place in (
        ("version", manifest.get("package")),
        ("inherited version", workspace.get("package")),
    ):
        if place and isinstance(place.get("version"), str):
            hidden[what], place["version"] = place["version"], MASK
    for where, table in (("", manifest), ("workspace ", workspace), *_targeted(manifest)):
        for kind in DEPENDENCIES:
            for name, said in table.get(kind, {}).items():
                if _is_local(name, said, local) and "version" in said:
                    hidden[f"version of {_dependency(kind, name, where)}"] = said["version"]
                    said["version"] = MASK


def _is_local(name: str, said: Value, local: Collection[str]) -> bool:
    return isinstance(said, dict) and "path" in said and said.get("package", name) in local


def _targeted(manifest: Table) -> Iterator[tuple[str, Table]]:
    for target, table in manifest.get("target", {}).items():
        yield f" for `{target}`", table


def _dependency(kind: str, name: str, where: str) -> str:
    """A dependency of the workspace, of a platform, or of all."""
    word = "dependency" if kind == "dependencies" else kind.replace("ies", "y")
    return f"{word} `{name}`{where}" if where.startswith(" ") else f"{where}{word} `{name}`"


def _said(manifest: Table) -> Iterator[tuple[str, Any]]:
    """All but targets."""
    for key, value in manifest.get("package", {}).items():
        if key == "build" and isinstance(value, str):
            continue  # a target
        yield _PACKAGE.get(key, key), value
    yield from _workspace(manifest.get("workspace"))
    for where, table in (("", manifest), *_targeted(manifest)):
        for kind in DEPENDENCIES:
            yield from _dependencies(kind, table, where)
    for key in ("feature", "profile"):
        for name, value in manifest.get(_TABLES[key], {}).items():
            yield f"{key} `{name}`", value
    for source, patches in manifest.get("patch", {}).items():
        yield from ((f"patch of `{name}` in `{source}`", said) for name, said in patches.items())
    yield from _empty(manifest)
    yield from (
        (key.replace("-", " "), manifest[key]) for key in ("cargo-features", "badges") if key in manifest
    )


def _workspace(workspace: Table | None) -> Iterator[tuple[str, Any]]:
    if workspace is None:
        return
    yield "workspace", None
    for key, what in _WORKSPACE.items():
        if key in workspace and (key, workspace[key]) != ("members", []):
            yield what, workspace[key]
    for key, value in workspace.get("package", {}).items():
        yield f"inherited {key}", value
    if workspace.get("package") == {}:
        yield "empty [workspace.package]", {}
    yield from _dependencies("dependencies", workspace, "workspace ")


def _dependencies(kind: str, table: Table, where: str) -> Iterator[tuple[str, Any]]:
    for name, said in table.get(kind, {}).items():
        yield _dependency(kind, name, where), said
    if table.get(kind) == {} and not where.startswith(" "):
        yield f"empty [{where.replace(' ', '.')}{kind}]", {}


def _empty(manifest: Table) -> Iterator[tuple[str, Any]]:
    """Tables with nothing in them: the recipe holds their headers."""
    for key in ("features", "profile", "patch", "target"):
        if manifest.get(key) == {}:
            yield f"empty [{key}]", {}
    for key in ("patch", "target"):
        for name, table in manifest.get(key, {}).items():
            if not any(table.values()):
                yield f"empty [{key}.{name}]", {}


def _products(manifest: Table, cargo: list[Found], said: Manifest) -> Iterator[tuple[Part, str]]:
    """A part for each file that is a target's root, and one for what their order says."""
    if "package" not in manifest:
        return
    listed: dict[Part, list[Any]] = defaultdict(list)
    expected: set[Found] = set()
    for kind in _PRODUCTS:
        products = [manifest[kind]] if kind == "lib" and kind in manifest else manifest.get(kind, [])
        for product in products:
            if "path" in product:
                expected.add(_expected(product, kind))
            listed[_place(product, kind, said)].append([kind, _terse(product, kind, manifest["package"])])
        odd = disorder(
            [_place(product, kind, said) for product in products], lambda place: place.file.split("/")
        )
        if odd and kind in _ORDERS:
            yield Part(said.path, _ORDERS[kind]), shown([[list(place) for place in pair] for pair in odd])
    script = manifest["package"].get("build")
    if isinstance(script, str):
        root = posixpath.normpath(script)
        expected.add(
            Found(root, BUILD_SCRIPT, f"build-script-{posixpath.splitext(posixpath.basename(root))[0]}")
        )
        listed[_part(said, root, BUILD_SCRIPT)].append(script)
    # how cargo sees it is told only where that does not follow from the manifest
    for found in sorted(set(cargo) ^ expected):
        listed[_part(said, found.path, found.kind)].append(
            ["cargo" if found in cargo else "not cargo", *found]
        )
    yield from ((part, shown(entries)) for part, entries in listed.items())


def _part(said: Manifest, root: str, kind: str) -> Part:
    file = posixpath.normpath(joined(said.folder, root))
    return Part(file, BUILD_SCRIPT if kind == BUILD_SCRIPT else "target")


def _place(product: Table, kind: str, said: Manifest) -> Part:
    if "path" in product:
        return _part(said, product["path"], kind)
    return Part(said.path, f"{kind} `{product.get('name', '')}`")


def _expected(product: Table, kind: str) -> Found:
    """The target that cargo makes of an entry."""
    if kind == "lib" and (product["proc-macro"] or "proc-macro" in product["crate-type"]):
        kind = "macro"
    return Found(posixpath.normpath(product["path"]), kind, product.get("name", ""))


def _terse(product: Table, kind: str, package: Table) -> Table:
    """A target without what follows from the package, so that not all change with its name or edition."""
    own = package["name"].replace("-", "_") if kind == "lib" else package["name"] if kind == "bin" else None
    usual = {"edition": package.get("edition"), "name": own}
    if "path" in product:
        usual["path"] = posixpath.normpath(product["path"])
    return {key: value for key, value in product.items() if key not in usual or usual[key] != value}
