"""Names that are made of other names."""

from __future__ import annotations

import re


def slug(text: str, fallback: str) -> str:
    """`text` as a valid name, or `fallback` when nothing of it can be kept: `My App!` -> `my-app`."""
    plain = re.sub(r"[^a-z0-9]+", lambda run: run[0] if run[0] in "._-" else "-", text.lower())
    return plain.strip("._-") or fallback
