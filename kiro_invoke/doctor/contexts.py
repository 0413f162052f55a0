"""What a build context sends that no build needs: what is big, what changes each time. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kiro_invoke.doctor.finding import Finding, note, ok, problem

SIZE, IGNORE, RESTLESS = "context-size", "dockerignore", "context-changes"
#: From these sizes on it is told what a context sends, and that it is too much.
MUCH, TOO_MUCH = 50_000_000, 200_000_000
_BIGGEST = 3
#: Folders that tools make and builds do not need, and why.
_FOLDERS: Mapping[str, str] = {
    ".git": "it changes with each commit and fetch",
    ".hg": "it changes with each commit",
    ".svn": "it changes with each update",
    "node_modules": "the image installs its own",
    "target": "the image compiles its own",
    "dist": "the image builds its own",
    ".next": "the image builds its own",
    ".nuxt": "the image builds its own",
    ".venv": "the image installs its own",
    "venv": "the image installs its own",
    "__pycache__": "it changes with each run",
    ".pytest_cache": "it changes with each test run",
    ".mypy_cache": "it changes with each run",
    ".ruff_cache": "it changes with each run",
    ".tox": "it changes with each test run",
    "coverage": "it changes with each test run",
    ".nyc_output": "it changes with each test run",
    "test-results": "it changes with each test run",
    "playwright-report": "it changes with each test run",
    ".idea": "the editor writes it",
    ".vscode": "the editor writes it",
    ".gradle": "it changes with each build",
    ".terraform": "no image needs it",
    ".cache": "it changes with each build",
    ".parcel-cache": "it changes with each build",
    ".turbo": "it changes with each build",
    ".kiro": "builds write their logs there",
}
#: What shows that `target` and `dist` are what tools made of these, and no sources of that name.
_BESIDE = {"target": ("Cargo.toml", "pom.xml"), "dist": ("package.json",), "coverage": ("package.json",)}
_FILES = (
    (re.compile(r".*\.log(?:\.\d+)?"), "*.log", "it grows while programs run"),
    (re.compile(r".*\.(?:sqlite3?|db)(?:-wal|-shm|-journal)?"), "", "a database changes with each run"),
    (re.compile(r"(?:npm|yarn)-(?:debug|error)\.log.*"), "*.log", "it comes with each failure"),
    (re.compile(r"\.coverage|lcov\.info"), "", "it changes with each test run"),
    (re.compile(r"\.DS_Store|Thumbs\.db"), "", "the desktop writes it"),
    (re.compile(r".*\.pid"), "*.pid", "it changes with each start"),
    (re.compile(r".*\.tsbuildinfo"), "*.tsbuildinfo", "it changes with each build"),
)


@dataclass(frozen=True)
class Sent:
    """What the builds of one Dockerfile are sent: its files with their sizes in bytes, relative to the context.

    `ignore_file` is the place of the file with its ignore rules, there or not. `restless` are files that changed while
    nobody built.
    """

    service: str
    ignore_file: str
    files: Mapping[str, int]
    restless: Sequence[str] = ()


@dataclass(frozen=True)
class Unneeded:
    """Something that a context should not hold: the line to add, and why."""

    path: str
    line: str
    why: str
    bytes: int


def check_context(sent: Sent) -> Iterator[Finding]:
    """All that is to be said of one context."""
    found = unneeded(sent)
    for one in found:
        yield problem(
            IGNORE,
            f"the context of {sent.service} holds {one.path} ({_size(one.bytes)}): {one.why}",
            f"add a line `{one.line}`",
            file=sent.ignore_file,
        )
    yield from _restless(sent, [one.path for one in found])
    total = sum(sent.files.values())
    told = f"the context of {sent.service} is {_size(total)} in {len(sent.files):,} files"
    if total < MUCH:
        if not found:
            yield ok(SIZE, told)
        return
    biggest = ", ".join(f"{path} ({_size(size)})" for path, size in _entries(sent.files)[:_BIGGEST])
    finding = problem if total >= TOO_MUCH else note
    yield finding(
        SIZE,
        f"{told}; the biggest: {biggest}",
        "name in it what no build needs, a line each",
        file=sent.ignore_file,
    )


def unneeded(sent: Sent) -> tuple[Unneeded, ...]:
    """What tools made, and what changes by itself, each once."""
    sizes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
    for path, size in sent.files.items():
        if found := _why(path, sent.files):
            sizes[found] += size
    return tuple(Unneeded(place, line, why, size) for (place, line, why), size in sorted(sizes.items()))


def _why(path: str, files: Mapping[str, int]) -> tuple[str, str, str] | None:
    """What a file belongs to that is not needed, the line that leaves it out, and why; None if it may be needed."""
    *folders, name = path.split("/")
    for at, folder in enumerate(folders):
        if folder in _FOLDERS:
            above = "/".join(folders[:at])
            beside = _BESIDE.get(folder)
            prefix = f"{above}/" if above else ""
            if beside is None or any(f"{prefix}{one}" in files for one in beside):
                return f"{prefix}{folder}", f"**/{folder}", _FOLDERS[folder]
    for pattern, line, why in _FILES:
        if pattern.fullmatch(name):
            return path, f"**/{line}" if line else escaped(path), why
    return None


def _restless(sent: Sent, known: Sequence[str]) -> Iterator[Finding]:
    for path in sent.restless:
        if not any(path == one or path.startswith(f"{one}/") for one in known):
            yield note(
                RESTLESS,
                f"{path} in the context of {sent.service} changed while this command ran: if nobody edited it,"
                " each build has another context for it",
                f"add a line `{escaped(path)}`",
                file=sent.ignore_file,
            )


def _entries(files: Mapping[str, int]) -> list[tuple[str, int]]:
    """The folders and files at the top, or one below, with what they hold, the biggest first."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for path, size in files.items():
        parts = path.split("/")
        sizes["/".join(parts[:2]) if len(parts) > 2 else path] += size
    return sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))


def escaped(path: str) -> str:
    """A line of an ignore file that matches this path and nothing else."""
    text = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    return f"/{text}" if text.startswith(("!", "#", " ")) else text


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
