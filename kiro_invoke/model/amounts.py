"""Amounts of bytes as people read them."""

from __future__ import annotations

#: From here on a decimal is of no use, and from here on the next unit is told.
_WHOLE, _NEXT = 99.95, 999.5


def told_bytes(count: int) -> str:
    """`count` bytes in decimal units, as Docker tells them: 0 B, 1.2 GB, 356 MB."""
    amount, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < _NEXT or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= _WHOLE else f"{amount:.1f} {unit}"
