"""A package's targets as its manifest in the recipe names them: the mirror of cargo-manifest's discovery."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from kiro_invoke.ecosystems.cargo_manifest import product
from kiro_invoke.ecosystems.cargo_text import Doubt, Table
from kiro_invoke.model.fingerprint import Tree

#: Kind of target -> its folder.
FOLDERS = {"bin": "src/bin", "example": "examples", "test": "tests", "bench": "benches"}


class Names:
    """The names in a tree, by folder. Of a link to a folder nobody knows what it holds: Doubt."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = tree.names if isinstance(tree.names, (set, frozenset, dict)) else frozenset(tree.names)

    @cached_property
    def folders(self) -> dict[str, set[str]]:
        """Folder -> the names in it."""
        folders: dict[str, set[str]] = {"": set()}
        for path in self._names:
            folder, _, name = path.rpartition("/")
            while name:
                known = folders.setdefault(folder, set())
                if name in known:
                    break
                known.add(name)
                folder, _, name = folder.rpartition("/")
        return folders

    def within(self, folder: str) -> Collection[str]:
        """The names in a folder; none if there is no such folder."""
        if self.leads_away(folder):
            raise Doubt(folder, 1, "a link, and what it leads to is not known")
        return self.folders.get(folder, ())

    def leads_away(self, path: str) -> bool:
        """Whether it is a link to a folder, or may be one."""
        return path in self._names and self._tree.read(path) is None

    def has(self, path: str) -> bool:
        """Whether something stands at this path."""
        return path in self._names or path in self.folders

    def is_file(self, path: str) -> bool:
        """Whether a file or link stands at this path."""
        return path in self._names


def joined(folder: str, path: str) -> str:
    """A path in a folder; the tree's own folder is the empty text."""
    return f"{folder}/{path}" if folder else path


def complete(manifest: Table, names: Names, folder: str) -> None:
    """Add what the manifest of a package leaves to discovery. LookupError for a library that is not there."""
    package = manifest.get("package")
    if package is None:
        return
    edition = package.get("edition")
    local = edition if isinstance(edition, str) else None
    legacy = edition in (None, "2015")
    source = names.within(joined(folder, "src"))
    _complete_library(manifest, source, local, legacy)
    for kind, where in FOLDERS.items():
        found = _discovered(names, folder, where)
        if kind == "bin" and "main.rs" in source:
            found.append((package["name"], "src/main.rs"))
        products = manifest.setdefault(kind, [])
        auto = package.get("autobenches" if kind == "bench" else f"auto{kind}s", not (legacy and products))
        _merge(products, found, add=auto)
        for target in products:
            _fill(target, "edition", local)
            if kind == "example":
                _fill(target, "crate-type", ["bin"])
            if kind == "bin" and legacy and "main.rs" in source:
                _fill(target, "path", "src/main.rs")
    manifest["bin"].sort(key=_place)
    if package.get("build", True) is True and names.has(joined(folder, "build.rs")):
        package["build"] = "build.rs"


def _complete_library(manifest: Table, source: Collection[str], edition: str | None, legacy: bool) -> None:
    package, library = manifest["package"], manifest.get("lib")
    if library is None:
        if package.get("autolib") is False or "lib.rs" not in source:
            return
        manifest["lib"] = library = product(path="src/lib.rs")
    if "path" not in library:
        former = f"{library.get('name', package['name'])}.rs"
        if "lib.rs" not in source and not (legacy and former in source):
            raise LookupError("there is no library: neither `src/lib.rs` nor a path of it")
        library["path"] = f"src/{'lib.rs' if 'lib.rs' in source else former}"
    _fill(library, "name", package["name"].replace("-", "_"))
    _fill(library, "edition", edition)
    _fill(library, "crate-type", ["lib"])
    library["required-features"] = []


def _fill(target: Table, key: str, value: object) -> None:
    if key not in target and value is not None:
        target[key] = value


def _place(target: Table) -> str:
    return str(target.get("path", target.get("name", "")))


def _discovered(names: Names, folder: str, where: str) -> list[tuple[str, str]]:
    """Names and paths of targets: `x.rs` and `x/main.rs`."""
    found = []
    for name in sorted(names.within(joined(folder, where))):
        path = f"{where}/{name}"
        if name.endswith(".rs"):
            found.append((name.removesuffix(".rs"), path))
            if names.is_file(joined(folder, path)):
                continue
        if "main.rs" in names.within(joined(folder, path)):
            found.append((name, f"{path}/main.rs"))
    return found


def _merge(products: list[Table], found: list[tuple[str, str]], *, add: bool) -> None:
    """Give targets without a path the first that was found for their name, and add those that no target has."""
    paths = dict(reversed(found))
    for target in products:
        _fill(target, "path", paths.get(target.get("name", "")))
    if add:
        for name, path in found:
            if all(target.get("path") != path for target in products):
                products.append(product(name=name, path=path))
