"""What the loop tells, as lines for a person. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator

from kiro_invoke.loop import told
from kiro_invoke.plain import clean

#: The style of lines that others printed, which may be coloured.
OUTPUT = "output"
#: Lines of a failed build that are shown, and paths of a change.
_LINES, _PATHS = 60, 2


def short(revision: str) -> str:
    """A revision as people see it."""
    return revision.removeprefix("kiro-revision-")[:9]


def lines(one: told.Told) -> Iterator[tuple[str, str]]:
    """What is told, as lines with a style; OUTPUT is that of what others printed."""
    match one:
        case told.Served():
            yield from _served(one)
        case told.Broken():
            yield from _broken(one)
        case told.Why(all_lines):
            yield "the last decisions:" if all_lines else "nothing was to be decided yet", "bold"
            for line in all_lines:
                yield line, OUTPUT
        case told.Status():
            return
        case _:
            yield _line(one)


def _line(
    one: told.Started
    | told.Superseded
    | told.Unaffected
    | told.Refreshed
    | told.Stopped
    | told.Trouble
    | told.Note
    | told.Ready,
) -> tuple[str, str]:
    match one:
        case told.Started(service, revision, unreachable, urls):
            where = f"  {' '.join(urls)}" if urls else ""
            why = f"; not live: {unreachable}" if unreachable else ""
            return f"{service:<10} watched, {short(revision)}{where}{why}", ""
        case told.Superseded(change):
            return f"{change.service:<10} {_what(change)}: superseded by a newer save", "dim"
        case told.Unaffected(service, paths, cause):
            return f"{service:<10} IGNORED     {_some(paths)}: {cause}; nothing done", "dim"
        case told.Refreshed(service, seconds):
            return f"{service:<10} image built behind it in {seconds:.2f} s", "dim"
        case told.Stopped(service, cause):
            return f"{service:<10} {cause}", "red"
        case told.Trouble(message, fix, _):
            stop = "" if message.endswith((".", "?", "!")) else "."
            return f"{message}{f'{stop} Fix: {fix}' if fix else ''}", "red"
        case told.Note(message):
            return message, "dim"
    if one.ends:
        fine = [name for name in one.services if name not in one.broken]
        parts = [f"{', '.join(fine)} serve what is saved"] if fine else []
        parts += [f"{', '.join(one.broken)} broken"] if one.broken else []
        return f"{'; '.join(parts)}; the containers run on", "red" if one.broken else "bold"
    how = f" ({one.polling})" if one.polling else ""
    return f"watching {', '.join(one.services)} in {one.folders} folders{how}; Ctrl-C ends it", "bold"


def _served(one: told.Served) -> Iterator[tuple[str, str]]:
    seconds = one.seconds
    parts = [
        ("detect", seconds.detect),
        ("sync", seconds.sync),
        ("build", seconds.build),
        ("restart", seconds.restart),
    ]
    spent = ", ".join(f"{name} {value:.2f}" for name, value in parts if value >= 0.005)
    test = ""
    if one.tested is not None:
        test = f"; test {'passed' if one.tested.ok else 'FAILED'} in {one.tested.seconds:.2f} s"
    word = "reconciled" if one.reconciled else "serving"
    change = one.change
    yield (
        f"{change.service:<10} {_what(change)} -> {change.way}, {word} {short(one.revision)} after "
        f"{seconds.total:.2f} s ({spent}){test}",
        "red" if one.tested is not None and not one.tested.ok else "green",
    )
    if one.tested is not None and not one.tested.ok:
        yield from _end_of(one.tested.output)
    elif b"warning" in one.output:
        yield from _output(one.output)


def _broken(one: told.Broken) -> Iterator[tuple[str, str]]:
    change = one.change
    if one.serves_old_since is None:
        serves = "nothing is served"
    else:
        since = time.strftime("%H:%M:%S", time.localtime(one.serves_old_since))
        serves = f"it still serves the code of before {since}"
    fix = f" Fix: {one.fix}" if one.fix else ""
    yield f"{change.service:<10} {_what(change)} -> {change.way}: BROKEN, {one.what}; {serves}.{fix}", "red"
    yield from _output(one.output)


def _what(change: told.Change) -> str:
    """Kind, files and cause; a cause that begins with the file's name says both."""
    first = change.paths[0] if change.paths else ""
    name = change.cause.partition(" ")[0].rstrip(":")
    more = f" (and {len(change.paths) - 1} more)" if len(change.paths) > 1 else ""
    if not first or (name and first.endswith(name)):
        return f"{change.kind!s:<10}  {change.cause}{more}"
    return f"{change.kind!s:<10}  {_some(change.paths)}: {change.cause}"


def _some(paths: tuple[str, ...]) -> str:
    more = len(paths) - _PATHS
    return ", ".join(paths[:_PATHS]) + (f" and {more} more" if more > 0 else "")


def _output(output: bytes) -> Iterator[tuple[str, str]]:
    """What a build printed, from its first error on."""
    all_lines = output.decode(errors="replace").splitlines()
    plain = [clean(line) for line in all_lines]
    errors = [at for at, line in enumerate(plain) if line.startswith("error")]
    warnings = [at for at, line in enumerate(plain) if line.startswith("warning")]
    first = min(errors or warnings, default=0)
    some = all_lines[first : first + _LINES]
    for line in some:
        yield line, OUTPUT
    if left := len(all_lines) - first - len(some):
        yield f"... and {left} more lines", OUTPUT


def _end_of(output: bytes) -> Iterator[tuple[str, str]]:
    """The last lines of what a test printed: there it says what failed."""
    all_lines = output.decode(errors="replace").splitlines()
    left = len(all_lines) - _LINES // 2
    if left > 0:
        yield f"{left} lines before ...", OUTPUT
    for line in all_lines[-_LINES // 2 :]:
        yield line, OUTPUT
