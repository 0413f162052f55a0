"""Rust with Cargo. What the dependency layer is made from is the recipe of `cargo chef prepare`."""

from __future__ import annotations

from functools import lru_cache

from kiro_invoke.ecosystems.cargo_lock import LOCKFILE, lock_parts
from kiro_invoke.ecosystems.cargo_parts import FORMATTING, Crate
from kiro_invoke.ecosystems.cargo_targets import Names
from kiro_invoke.ecosystems.cargo_text import Doubt, digest, text_of
from kiro_invoke.ecosystems.cargo_workspace import MANIFEST, members
from kiro_invoke.model.fingerprint import Fingerprint, Part, Tree

#: The first that is there counts. The recipe does not tell which of the two settings files it was.
_SETTINGS = (".cargo/config", ".cargo/config.toml")
_TOOLCHAINS = ("rust-toolchain", "rust-toolchain.toml")
_CONTENTS = frozenset({LOCKFILE, *_SETTINGS, *_TOOLCHAINS})


def reads(path: str) -> bool:
    """Whether a recipe can depend on the content of a file at this path, and not on its name alone."""
    return path in _CONTENTS or path.rpartition("/")[2] == MANIFEST


def fingerprint(tree: Tree) -> Fingerprint:
    """The parts of the recipe that `cargo chef prepare` makes of a workspace or package.

    Without a Cargo.lock the recipe has none, and what a cook then compiles depends on the registry of that day too.
    What lies outside the tree, an environment and the toolchain's image are no part of it.
    """
    try:
        return _fingerprint(tree)
    except Doubt as doubt:
        return Fingerprint(doubt=str(doubt))
    except RecursionError:
        return Fingerprint(doubt=f"{MANIFEST}:1: nested too deeply")


def _fingerprint(tree: Tree) -> Fingerprint:
    names = Names(tree)
    manifests = members(tree, names)
    crates = [Crate(each, manifests[0], names) for each in manifests]
    local = frozenset(crate.name for crate in crates if crate.name is not None)
    parts, unseen = _raw(tree)
    told = [crate.parts(local) for crate in crates]
    lock = text_of(tree, LOCKFILE)
    if lock is not None:
        told.append(_locked(lock, local))
        unseen[Part(LOCKFILE, FORMATTING)] = digest(lock)
    for seen, hidden in told:
        parts |= seen
        unseen |= hidden
    known = {each.path for each in manifests}
    for path in tree.names:
        if path not in known and path.endswith(f"/{MANIFEST}"):
            unseen[Part(path, "manifest outside the workspace")] = digest(tree.read(path) or b"")
    return Fingerprint(parts, unseen)


@lru_cache(maxsize=4)
def _locked(raw: bytes, local: frozenset[str]) -> tuple[dict[Part, str], dict[Part, str]]:
    """The lockfile's parts, not to be changed. Of two trees it is most often the same, and the largest file by far."""
    return lock_parts(raw, local)


def _raw(tree: Tree) -> tuple[dict[Part, str], dict[Part, str]]:
    """The files of which the recipe holds the text, and those that others hide."""
    parts: dict[Part, str] = {}
    unseen: dict[Part, str] = {}
    for paths, what in ((_SETTINGS, "settings"), (_TOOLCHAINS, "toolchain")):
        found = [(path, raw) for path in paths if (raw := _text(tree, path)) is not None]
        for path, raw in found[:1]:
            parts[Part(_SETTINGS[1] if what == "settings" else path, what)] = digest(raw)
        for path, raw in found[1:]:
            unseen[Part(path, f"{what} hidden by `{found[0][0]}`")] = digest(raw)
    return parts, unseen


def _text(tree: Tree, path: str) -> bytes | None:
    """A file's text; of the first settings file cargo-chef takes no notice if it is none."""
    try:
        return text_of(tree, path)
    except Doubt:
        if path != _SETTINGS[0] or tree.read(path) is None:
            raise
        return None
