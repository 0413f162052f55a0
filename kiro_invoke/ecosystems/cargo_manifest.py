"""A manifest as the recipe writes it: the mirror of cargo-manifest 0.18, with which cargo-chef reads.

What it does not know is dropped, what it has defaults for is there, several spellings become one. The names of the
tables below are those of its structs. What they do not take makes `cargo chef prepare` fail.
"""

from __future__ import annotations

from typing import Any

from kiro_invoke.ecosystems.cargo_takes import (
    At,
    Odd,
    Take,
    anything,
    either,
    exactly,
    inherited,
    list_of,
    map_of,
    one_of,
    or_default,
    struct,
)
from kiro_invoke.ecosystems.cargo_text import Table, Value


def normalized(document: Table, dropped: dict[tuple[str, ...], Any]) -> Table:
    """The manifest that the recipe holds before targets are looked for. Odd if it cannot be one."""
    at = At((), dropped)
    manifest: Table = _MANIFEST(document, at)
    if "package" not in manifest and "workspace" not in manifest:
        key = "project" if "project" in document else ""
        manifest["package"] = _PACKAGE(document["project"] if key else document, at / key if key else at)
    return manifest


def _dependency(value: Value, at: At) -> Value:
    if isinstance(value, str):
        return value
    inherits = isinstance(value, dict) and value.get("workspace") is True
    return (_INHERITED_DEPENDENCY if inherits else _DEPENDENCY)(value, at)


def _strip(value: Value, at: At) -> Value:
    if isinstance(value, bool):
        return value
    return {"none": False, "debuginfo": "debuginfo", "symbols": True}[
        one_of("none", "debuginfo", "symbols")(value, at)
    ]


def _units(value: Value, at: At) -> Value:
    if exactly(int)(value, at) not in range(1 << 16):
        raise Odd(at)
    return value


_text, _flag = exactly(str), exactly(bool)
_texts = list_of(_text)
_EDITION = one_of("2015", "2018", "2021", "2024")
_RESOLVER = one_of("1", "2", "3")
_publish = either(_flag, _texts)
_text_or_flag = either(_text, _flag)

_INHERITED_DEPENDENCY = struct({"workspace": anything, "features": _texts, "optional": _flag})
_DEPENDENCY = struct(
    {
        **dict.fromkeys(
            ("version", "registry", "registry-index", "path", "git", "branch", "tag", "rev"), _text
        ),
        "features": _texts,
        "optional": _flag,
        "default-features": _flag,
        "package": _text,
    }
)
_dependencies = map_of(_dependency)
_TARGET = struct(
    dict.fromkeys(("dependencies", "dev-dependencies", "build-dependencies"), _dependencies),
    {"dependencies": {}, "dev-dependencies": {}, "build-dependencies": {}},
)

#: Of a package, and what a workspace has its members inherit.
_INHERITABLE: dict[str, Take] = {
    "edition": _EDITION,
    **dict.fromkeys(
        ("version", "description", "homepage", "documentation", "license", "license-file"), _text
    ),
    **dict.fromkeys(("repository", "rust-version"), _text),
    **dict.fromkeys(("authors", "keywords", "categories", "exclude", "include"), _texts),
    "readme": _text_or_flag,
    "publish": _publish,
}
_PACKAGE = struct(
    {
        "name": _text,
        **{key: inherited(take) for key, take in _INHERITABLE.items()},
        "build": _text_or_flag,
        **dict.fromkeys(("workspace", "links", "default-run"), _text),
        **dict.fromkeys(("autolib", "autobins", "autoexamples", "autotests", "autobenches"), _flag),
        "resolver": _RESOLVER,
        "metadata": anything,
    },
    needed="name",
)
_WORKSPACE = struct(
    {
        **dict.fromkeys(("members", "default-members", "exclude"), _texts),
        "resolver": _RESOLVER,
        "dependencies": _dependencies,
        "package": struct(_INHERITABLE),
        "metadata": anything,
    },
    {"members": []},
)
_PROFILE = struct(
    {
        **dict.fromkeys(("opt-level", "debug", "lto", "build-override"), anything),
        **dict.fromkeys(("rpath", "debug-assertions", "incremental", "overflow-checks"), _flag),
        **dict.fromkeys(("inherits", "panic", "split-debuginfo"), _text),
        "codegen-units": _units,
        "strip": _strip,
        "package": map_of(anything),
    },
    {"package": {}},
)
_YES = ("test", "doctest", "bench", "doc", "harness")
_PRODUCT = struct(
    {
        **dict.fromkeys(("path", "name"), _text),
        **dict.fromkeys((*_YES, "plugin", "proc-macro"), _flag),
        "edition": _EDITION,
        **dict.fromkeys(("required-features", "crate-type"), _texts),
    },
    {**dict.fromkeys(_YES, True), "plugin": False, "proc-macro": False, "required-features": []},
)
_BADGE = struct(
    {"repository": _text, "branch": _text, "service": _text, "id": _text, "project-name": _text},
    {"branch": "master"},
    needed="repository",
)
_STATES = ("none", "actively-developed", "passively-maintained", "as-is", "experimental")
_MAINTENANCE = struct({"status": one_of(*_STATES, "looking-for-maintainer", "deprecated")}, needed="status")
_BADGES = struct(
    {
        **dict.fromkeys(
            ("appveyor", "circle-ci", "gitlab", "travis-ci", "codecov", "coveralls"),
            or_default(_BADGE, None),
        ),
        **dict.fromkeys(
            ("is-it-maintained-issue-resolution", "is-it-maintained-open-issues"), or_default(_BADGE, None)
        ),
        "maintenance": or_default(_MAINTENANCE, {"status": "none"}),
    },
    {"maintenance": {"status": "none"}},
)
_products = list_of(_PRODUCT)
_MANIFEST = struct(
    {
        "package": _PACKAGE,
        "cargo-features": _texts,
        "workspace": _WORKSPACE,
        **dict.fromkeys(("dependencies", "dev-dependencies", "build-dependencies"), _dependencies),
        "target": map_of(_TARGET),
        "features": map_of(_texts),
        **dict.fromkeys(("bin", "bench", "test", "example"), _products),
        "patch": map_of(_dependencies),
        "lib": _PRODUCT,
        "profile": map_of(_PROFILE),
        "badges": _BADGES,
    }
)


def product(**said: Value) -> Table:
    """A target's entry with what is said, and defaults."""
    taken: Table = _PRODUCT(said, At((), {}))
    return taken
