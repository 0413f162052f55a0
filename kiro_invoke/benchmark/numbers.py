"""Numbers that are given once in the life of a copy: an edit or a package that was there before costs less."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from kiro_invoke.engine.files import write_whole


class Counter:
    """Series of numbers, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def next(self, series: str) -> int:
        """The next number of a series, from 1. A damaged file begins anew."""
        known: dict[str, int] = {}
        with suppress(OSError, ValueError, AttributeError, TypeError):
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            known = {str(name): int(value) for name, value in raw.items()}
        number = known.get(series, 0) + 1
        write_whole(self._path, json.dumps({**known, series: number}))
        return number
