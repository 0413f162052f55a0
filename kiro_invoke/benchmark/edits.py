"""Edits of sources, as text to text: each number gives a content that was never there before. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import PurePosixPath

#: What is added to a file by the ending of its name, with the number of the edit for `@`. It reaches what is built:
#: a comment would be compiled, but link nothing new.
_ADDED = {
    ".rs": "\n#[used]\nstatic KIRO_BENCHMARK: u64 = @;\n",
    ".go": "\nvar KiroBenchmark = @\n",
    ".py": "\nKIRO_BENCHMARK = @\n",
    ".css": "\n.kiro-benchmark { order: @; }\n",
    ".html": "\n<!-- kiro benchmark @ -->\n",
    ".scss": "\n.kiro-benchmark { order: @; }\n",
    ".less": "\n.kiro-benchmark { order: @; }\n",
    ".sh": "\n: kiro benchmark @\n",
    **dict.fromkeys(("", ".txt", ".md"), "\nkiro benchmark @\n"),
    **dict.fromkeys(
        (".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".tsx"), '\nconsole.debug("kiro benchmark", @);\n'
    ),
}
_MODULE = re.compile(r"<script\b[^>]*\bsrc=[\"']/?([^\"']+)", re.IGNORECASE)
#: Where a program begins, by what is looked for first. The shortest path of a row wins.
_CARGO = (
    re.compile(r"(?:^|/)src/main\.rs$"),
    re.compile(r"(?:^|/)src/bin/[^/]+\.rs$"),
    re.compile(r"(?:^|/)src/lib\.rs$"),
)
_NODE = (
    re.compile(r"^src/(?:main|index|app|App)\.[cm]?[jt]sx?$"),
    re.compile(r"^(?:server|index|app|main)\.[cm]?[jt]sx?$"),
    re.compile(r"^(?:src|app|pages|lib)/.*\.[cm]?[jt]sx?$"),
)
_TESTS = re.compile(
    r"(?:^|/)(?:tests?|benches|examples|node_modules|target)/|\.(?:test|spec|config|d)\.[cm]?[jt]sx?$"
)


def can_edit(path: str) -> bool:
    """Whether it is known what can be added to a file of this name so that it still builds, as something else."""
    return PurePosixPath(path).suffix.lower() in _ADDED


def edited(path: str, text: str, number: int) -> str:
    """A file's text with one more edit at its end."""
    added = _ADDED[PurePosixPath(path).suffix.lower()].replace("@", str(number))
    return f"{text.rstrip()}\n{added}" if text else added


def source_of(ecosystem: str, paths: Collection[str], read: Callable[[str], str]) -> str | None:
    """The file whose edit is a usual one: where the program begins. None where that is not known."""
    usable = [path for path in paths if not _TESTS.search(path)]
    if ecosystem == "cargo":
        return _first(_CARGO, usable)
    if ecosystem in ("npm", "pnpm", "yarn"):
        return _entry(usable, read) or _first(_NODE, usable)
    return None


def _entry(paths: Collection[str], read: Callable[[str], str]) -> str | None:
    """What the page loads, or what the manifest says that the package begins with."""
    if "index.html" in paths:
        for path in map(str, _MODULE.findall(read("index.html"))):
            if path.lstrip("/") in paths:
                return path.lstrip("/")
    if "package.json" in paths:
        try:
            main = json.loads(read("package.json")).get("main")
        except (ValueError, AttributeError):
            return None
        path = str(PurePosixPath(main)) if isinstance(main, str) else ""
        return path if path in paths else None
    return None


def _first(patterns: Iterable[re.Pattern[str]], paths: Collection[str]) -> str | None:
    for pattern in patterns:
        if found := [path for path in paths if pattern.search(path)]:
            return min(found, key=lambda path: (path.count("/"), path))
    return None
