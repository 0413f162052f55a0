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
        number = self.last(series) + 1
        write_whole(self._path, json.dumps({**self._known(), series: number}))
        return number

    def last(self, series: str) -> int:
        """The number that was given last, 0 if none was."""
        return self._known().get(series, 0)

    def _known(self) -> dict[str, int]:
        with suppress(OSError, ValueError, AttributeError, TypeError):
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): int(value) for name, value in raw.items()}
        return {}
