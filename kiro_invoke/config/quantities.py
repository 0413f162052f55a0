"""Sizes and ages as options, variables and kiro.yaml give them: 5GB, 7d. Parsed here, wherever they come from."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(?P<count>[0-9]{1,18}(?:\.[0-9]{1,6})?)\s?(?P<unit>[kmgt]?i?b)?", re.I | re.A)
_BYTES = {
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "tb": 1000**4,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
    "tib": 1024**4,
}
_AGE = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhdw])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def size_of(text: str) -> int | None:
    """The bytes of a size (5GB, 500MB, 1.5GiB; decimal units, as Docker's, without an `i`), None where it is none.

    Only nothing (0) needs no unit: who writes 5 means another one than bytes.
    """
    match = _SIZE.fullmatch(text)
    unit = (match["unit"] or ("b" if text == "0" else "")).lower() if match else ""
    if match is None or unit not in _BYTES or (unit == "b" and "." in match["count"]):
        return None
    whole, _, part = match["count"].partition(".")
    # no float: of a large number of bytes it would lose the last ones
    return int(whole) * _BYTES[unit] + int(part.ljust(6, "0")) * _BYTES[unit] // 1_000_000


def age_of(text: str) -> float | None:
    """The seconds of an age (30s, 30m, 12h, 7d, 8w), None where it is none."""
    match = _AGE.fullmatch(text)
    return int(match["count"]) * _SECONDS[match["unit"]] if match else None
