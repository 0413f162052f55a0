"""Where links lead within a tree, as the engine would follow them: never out of it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kiro_invoke.model.fingerprint import Tree

_MOST = 40


def following(
    names: Collection[str], text_of: Callable[[str], str | None], read: Callable[[str], bytes | None]
) -> Tree:
    """A tree of these files and links. `text_of` tells a link's text (None of what is none), `read` reads a file."""

    def follow(path: str) -> bytes | None:
        found = followed(path, text_of)
        return read(found) if found is not None and found in names else None

    return Tree(names, follow)


def followed(path: str, text_of: Callable[[str], str | None]) -> str | None:
    """The path of what a link leads to, in the tree that `text_of` tells the links of; `path` itself if it is none.

    Folders on the way may be links too. None outside of the tree, and where links lead in a circle.
    """
    for _ in range(_MOST):
        link = next((each for each in _ways(path) if text_of(each) is not None), None)
        if link is None:
            return path
        place = _joined(link, text_of(link) or "")
        if place is None:
            return None
        path = f"{place}{path.removeprefix(link)}".lstrip("/")
    return None


def _ways(path: str) -> list[str]:
    """The folders that lead to a path, outermost first, and the path itself."""
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts) + 1)]


def _joined(link: str, text: str) -> str | None:
    """Where a link leads, relative to the tree ("" is its root); None outside of it."""
    if text.startswith("/"):
        return None
    parts = link.split("/")[:-1]
    for part in text.split("/"):
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
