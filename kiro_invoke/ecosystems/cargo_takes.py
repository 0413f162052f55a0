"""How the values of a manifest are taken as serde takes them: pieces for cargo_manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kiro_invoke.ecosystems.cargo_text import Table, Value


class At(NamedTuple):
    """Where in a manifest a value stands, and where to note what the recipe leaves out."""

    keys: tuple[str, ...]
    dropped: dict[tuple[str, ...], Any]

    def __truediv__(self, key: str) -> At:
        return At((*self.keys, key), self.dropped)


class Odd(Exception):
    """A value that cargo-manifest does not take, by its keys."""

    def __init__(self, at: At) -> None:
        super().__init__(".".join(at.keys))
        self.keys = at.keys


Take = Callable[[Value, At], Value]
_NOTHING: Mapping[str, Any] = {}
#: Former spellings. None of them is a name of its own in another struct.
_ALIASES = {
    alias: alias.replace("_", "-")
    for alias in (
        "dev_dependencies", "build_dependencies", "default_members", "opt_level", "debug_assertions",
        "codegen_units", "overflow_checks", "proc_macro", "required_features", "crate_type", "registry_index",
        "default_features", "project_name",
    )
}  # fmt: skip


def anything(value: Value, _at: At) -> Value:
    """A value as it is."""
    return value


def exactly(kind: type) -> Take:
    """A value of that type."""

    def take(value: Value, at: At) -> Value:
        if type(value) is not kind:
            raise Odd(at)
        return value

    return take


def one_of(*words: str) -> Take:
    """One of some texts."""

    def take(value: Value, at: At) -> Value:
        if value not in words:
            raise Odd(at)
        return value

    return take


def list_of(inner: Take) -> Take:
    """An array of such values."""

    def take(value: Value, at: At) -> Value:
        return [inner(item, at) for item in exactly(list)(value, at)]

    return take


def map_of(inner: Take) -> Take:
    """A table of such values, by whatever names: a BTreeMap, so their order is lost."""

    def take(value: Value, at: At) -> Value:
        return {key: inner(item, at / key) for key, item in sorted(exactly(dict)(value, at).items())}

    return take


def either(first: Take, second: Take) -> Take:
    """What the first takes, or else the second."""

    def take(value: Value, at: At) -> Value:
        try:
            return first(value, at)
        except Odd:
            return second(value, at)

    return take


def struct(fields: Mapping[str, Take], defaults: Mapping[str, Any] = _NOTHING, needed: str = "") -> Take:
    """A table of these fields. Others are dropped, and noted; without the `needed` one it is none."""

    def take(value: Value, at: At) -> Value:
        taken: Table = {}
        for written, item in exactly(dict)(value, at).items():
            key = _ALIASES.get(written, written)
            if key in taken or key not in fields:
                if key in taken:
                    raise Odd(at / written)
                at.dropped[(*at.keys, written)] = item
                continue
            taken[key] = fields[key](item, at / written)
        if needed and needed not in taken:
            raise Odd(at / needed)
        whole = {**defaults, **taken}
        return {key: whole[key] for key in fields if whole.get(key) is not None}

    return take


def inherited(inner: Take) -> Take:
    """MaybeInherited: `{ workspace = true }`, whatever stands beside it, or the value itself."""

    def take(value: Value, at: At) -> Value:
        if isinstance(value, dict) and value.get("workspace") is True:
            return struct({"workspace": anything})(value, at)
        return inner(value, at)

    return take


def or_default(inner: Take, default: Value) -> Take:
    """What cannot be taken counts as not there."""

    def take(value: Value, at: At) -> Value:
        try:
            return inner(value, at)
        except Odd:
            return default

    return take
