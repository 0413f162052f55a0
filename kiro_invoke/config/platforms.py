"""What kiro.yaml says of the platforms that production images are for."""

from __future__ import annotations

from collections.abc import Iterable

from kiro_invoke.builds.platforms import ARCHITECTURES, is_platform, meant, same
from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Given, Value


def platforms(value: Value | None) -> tuple[Given, ...]:
    """The list `platforms:`; empty where there is none."""
    if value is None:
        return ()
    items = value.items()
    if not items:
        raise value.refused(f"{value.key} is an empty list", "name a platform, or delete the key")
    return _distinct(_platform(item) for item in items)


def _platform(item: Value) -> Given:
    given = item.scalar()
    if is_platform(given.text):
        return given
    near = meant(given.text)
    hint = f'; did you mean "{near}"?' if near else ""
    fix = f'write "{near}"' if near else f"use linux/ARCHITECTURE: one of {', '.join(ARCHITECTURES)}"
    raise given.refused(f'"{shown(given.text)}" is no platform that images are built for{hint}', fix)


def _distinct(every: Iterable[Given]) -> tuple[Given, ...]:
    found: dict[str, Given] = {}
    for given in every:
        if other := found.get(same(given.text)):
            message = f'platform "{given.text}" is given twice (the other: {other.text}, {other.where})'
            raise given.refused(message, "delete one of the two")
        found[same(given.text)] = given
    return tuple(found.values())
