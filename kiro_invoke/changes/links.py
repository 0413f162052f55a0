"""Where links lead within a tree, as the engine would follow them: never out of it."""

from __future__ import annotations

from collections.abc import Callable

_MOST = 40


def followed(path: str, text_of: Callable[[str], str | None]) -> str | None:
    """The path of what a link leads to, in the tree that `text_of` tells the links of; `path` itself if it is none.

    None outside of the tree, and where links lead in a circle.
    """
    for _ in range(_MOST):
        text = text_of(path)
        if text is None:
            return path
        path = _joined(path, text)
        if not path:
            return None
    return None


def _joined(link: str, text: str) -> str:
    """Where a link leads, relative to the tree; "" outside of it."""
    if text.startswith("/"):
        return ""
    parts = link.split("/")[:-1]
    for part in text.split("/"):
        if part == ".." and not parts:
            return ""
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
