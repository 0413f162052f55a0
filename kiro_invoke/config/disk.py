"""What kiro.yaml says of the room that is to stay free on the engine's disk."""

from __future__ import annotations

from collections.abc import Mapping

from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Value, outranked
from kiro_invoke.config.quantities import size_of
from kiro_invoke.model.service import DISK_FLOOR, Setting

_KEYS = ("floor",)


def disk_floor(value: Value | None, environ: Mapping[str, str]) -> tuple[int, tuple[Setting, ...]]:
    """The section `disk:`, and what `KIRO_DISK_FLOOR` says instead: bytes, 0 where nothing is guarded."""
    fields = value.known_fields(_KEYS) if value else {}
    given = outranked(fields.get("floor"), "KIRO_DISK_FLOOR", environ, Value.scalar)
    if given is None:
        return DISK_FLOOR, ()
    floor = size_of(given.text)
    if floor is None:
        raise given.refused(
            f'disk.floor: "{shown(given.text)}" is no size',
            "write one like 5GB, 500MB or 1.5GiB, or 0 for none",
        )
    return floor, (given.setting("disk.floor"),)
