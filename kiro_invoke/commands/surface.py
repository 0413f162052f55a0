"""What every command shares: where it writes, how it fails, its one JSON object."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from invoke.exceptions import Exit

from kiro_invoke.model.errors import BuildFailed, ExitCode, KiroError, UsageError
from kiro_invoke.plain import clean
from kiro_invoke.screen import Paper, paper

SCHEMA = 1


@dataclass(frozen=True)
class Surface:
    """The world around a command, passed in: streams, environment, folder, and a person to ask."""

    out: Paper
    err: Paper
    environ: Mapping[str, str]
    folder: Path
    ask: Callable[[str], bool] | None

    def say(self, line: str) -> None:
        """Tell a person something on standard error."""
        self.err.line(clean(line))


@dataclass(frozen=True)
class Answer:
    """What a command has to say: fields of its JSON object, and how it is shown to a person.

    A stream has `rows` instead of fields, one object a line, made while they are written. So its exit code may be
    known afterwards only.
    """

    fields: Mapping[str, Any]
    show: Callable[[Surface], None]
    ok: bool = True
    exit_code: int | Callable[[], int] = ExitCode.DONE
    rows: Callable[[], Iterable[Mapping[str, Any]]] = tuple


def real_surface() -> Surface:
    """The surface of this process. There is a person to ask when standard input and error are a terminal."""
    environ = dict(os.environ)
    # a shell's `>&-` closes them: what is written there is for nobody
    sys.stdout, sys.stderr = (stream or _nowhere() for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no character can end a command
    asks = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty() and not environ.get("CI")
    return Surface(
        out=paper(stderr=False, environ=environ),
        err=paper(stderr=True, environ=environ),
        environ=environ,
        folder=Path.cwd(),
        ask=_ask if asks else None,
    )


def perform(
    name: str, form: str, body: Callable[[Surface], Answer], *, formats: tuple[str, ...] = ("text", "json")
) -> None:
    """Run a command's body and end with its exit code; trouble becomes one message, never a traceback."""
    surface = real_surface()
    in_json = form in {"json", "jsonl"}
    try:
        if form not in formats:
            raise UsageError(f"--format {form}: not a format", fix=f"use one of {', '.join(formats)}")
        with _terminable():
            answer = body(surface)
            _give(name, form, answer, surface)
    except KiroError as error:
        _fail(name, error, surface, in_json=in_json)
        raise Exit(code=int(error.code)) from None
    except KeyboardInterrupt:
        interrupted = KiroError("interrupted")
        interrupted.code = ExitCode.INTERRUPTED
        _fail(name, interrupted, surface, in_json=in_json)
        raise Exit(code=int(ExitCode.INTERRUPTED)) from None
    except _OutputGone as gone:
        _give_up_output(name, gone.reason, surface)
        raise Exit(code=int(ExitCode.MISSED)) from None
    except OSError as error:
        _fail(name, KiroError(" ".join(str(error).split())), surface, in_json=in_json)
        raise Exit(code=int(ExitCode.MISSED)) from None
    code = answer.exit_code() if callable(answer.exit_code) else answer.exit_code
    if code:
        raise Exit(code=int(code))


def whole(name: str, fields: Mapping[str, Any], *, ok: bool) -> dict[str, Any]:
    """A command's one JSON object."""
    return {"schema": SCHEMA, "command": name, "ok": ok, **fields}


def write_row(row: Mapping[str, Any]) -> None:
    """Write one line of a stream now, for a command that cannot wait until it is asked for the next."""
    with _writing():
        _print_json(row)


class _OutputGone(Exception):
    """Standard output takes no more."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _give(name: str, form: str, answer: Answer, surface: Surface) -> None:
    """Write the answer. A stream's rows are made while they are written: trouble with that is no _OutputGone."""
    if form == "jsonl":
        for row in answer.rows():
            with _writing():
                _print_json(row)
        return
    with _writing():
        if form == "json":
            _print_json(whole(name, answer.fields, ok=answer.ok))
        else:
            answer.show(surface)
        sys.stdout.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _OutputGone(error) from None


def _give_up_output(name: str, error: OSError, surface: Surface) -> None:
    """Nobody takes the rest of the output: silence for a closed pipe (`kiro config | head`), else the reason."""
    _lead_nowhere(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        surface.say(f"kiro {name}: standard output: {error.strerror}")


def _nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _lead_nowhere(stream: TextIO) -> None:
    """What is still to come on `stream` is dropped: else Python complains when it flushes it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _fail(name: str, error: KiroError, surface: Surface, *, in_json: bool) -> None:
    if in_json:
        details = {"code": int(error.code), "message": error.message}
        places = {"file": error.file, "line": error.line, "fix": error.fix}
        details |= {key: value for key, value in places.items() if value is not None}
        if isinstance(error, BuildFailed):
            details |= {"log": error.log, "tail": [clean(line) for line in error.tail]}
        try:
            _print_json({"schema": SCHEMA, "command": name, "ok": False, "error": details})
        except OSError:
            _lead_nowhere(sys.stdout)
    try:
        if isinstance(error, BuildFailed) and not in_json:
            for line in error.tail:
                surface.err.line(f"  | {clean(line)}")
        surface.err.line((clean(f"kiro {name}: {error}"), "red"))
    except OSError:
        _lead_nowhere(sys.stderr)


def _print_json(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _ask(question: str) -> bool:
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


@contextmanager
def _terminable() -> Iterator[None]:
    """While inside, SIGTERM, and the end of the terminal, end the command as Ctrl-C does: nothing is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # `nohup` has them ignored, and means it
    heeded = [
        sign for sign in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(sign) is not signal.SIG_IGN
    ]
    before = {sign: signal.signal(sign, interrupt) for sign in heeded}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
