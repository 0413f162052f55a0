"""A package's targets as `cargo metadata` names them: the mirror of cargo's own inference, which is another one."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from kiro_invoke.ecosystems.cargo_targets import FOLDERS, Names, joined
from kiro_invoke.ecosystems.cargo_text import Table

BUILD_SCRIPT = "build script"


class Found(NamedTuple):
    """A target: the path of its root within the package's folder, its kind and its name."""

    path: str
    kind: str
    name: str


def targets(manifest: Table, document: Table, names: Names, folder: str, edition: str) -> list[Found]:
    """Cargo's targets, in order. `manifest` is normalized and not completed; `edition` the package's effective one.

    What makes cargo fail, such as two targets of one name, is not looked for.
    """
    package = manifest["package"]
    library = _library(manifest, names, folder, edition)
    found = {library} if library else set()
    for kind in FOLDERS:
        inferred = list(_inferred(names, folder, FOLDERS[kind]))
        if kind == "bin" and names.has(joined(folder, "src/main.rs")):
            inferred.insert(0, (package["name"], "src/main.rs"))
        auto = package.get("autobenches" if kind == "bench" else f"auto{kind}s")
        said = manifest.get(kind, [])
        pairs = [(target.get("name", ""), target.get("path", "")) for target in said]
        listed = kind in document
        if auto or (auto is None and not (listed and edition == "2015")):
            known, paths = {name for name, _ in pairs}, {path for _, path in pairs}
            pairs += [(name, path) for name, path in inferred if name not in known and path not in paths]
        for name, path in pairs:
            place = path or _place(name, kind, inferred, names, folder, edition, library is not None)
            found.add(Found(posixpath.normpath(place), kind, name))
    return sorted(found | set(_build_script(package, names, folder)))


def _library(manifest: Table, names: Names, folder: str, edition: str) -> Found | None:
    package, said = manifest["package"], manifest.get("lib")
    there = names.has(joined(folder, "src/lib.rs"))
    if said is None and not (there and package.get("autolib") is not False):
        return None
    library = said or {}
    name = library.get("name", package["name"].replace("-", "_"))
    path = library.get("path", "src/lib.rs")
    if "path" not in library and not there and edition == "2015":
        path = f"src/{name}.rs"
    macro = library.get("proc-macro") or "proc-macro" in library.get("crate-type", ())
    return Found(posixpath.normpath(path), "macro" if macro else "lib", name)


def _inferred(names: Names, folder: str, where: str) -> Iterator[tuple[str, str]]:
    for name in sorted(names.within(joined(folder, where))):
        path = f"{where}/{name}"
        if name.startswith("."):
            continue
        if PurePosixPath(name).suffix == ".rs":
            yield PurePosixPath(name).stem, path
        elif not names.is_file(joined(folder, path)) and names.has(joined(folder, f"{path}/main.rs")):
            yield name, f"{path}/main.rs"


def _place(
    name: str,
    kind: str,
    inferred: list[tuple[str, str]],
    names: Names,
    folder: str,
    edition: str,
    has_library: bool,
) -> str:
    """Where a target without a path lies; in the edition 2015, former places count too."""
    matching = [path for known, path in inferred if known == name]
    if len(matching) == 1 or edition != "2015":
        return next(iter(matching), "")
    former = {"bin": ["src/main.rs", "src/bin/main.rs"], "bench": ["src/bench.rs"] if name == "bench" else []}
    places = former.get(kind, [])
    if kind == "bin" and not has_library:
        places = [f"src/{name}.rs", *places]
    return next((place for place in places if names.has(joined(folder, place))), "")


def _build_script(package: Table, names: Names, folder: str) -> Iterator[Found]:
    said = package.get("build")
    if said is None and names.is_file(joined(folder, "build.rs")):
        said = "build.rs"
    path = "build.rs" if said is True else said
    if path:
        yield Found(posixpath.normpath(path), BUILD_SCRIPT, f"build-script-{PurePosixPath(path).stem}")
