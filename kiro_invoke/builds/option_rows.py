"""Options of buildx that hold several fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def option_row(fields: Iterable[str]) -> str:
    """One row of comma-separated fields, quoted where a field holds a comma itself."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(tuple(fields))
    return buffer.getvalue()
