"""What can go wrong for a person, and the exit code each kind of trouble ends with."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kiro_invoke.model.record import BuildRecord, FailedStep


class ExitCode(IntEnum):
    """Exit codes of every command (docs/commands.md)."""

    DONE = 0
    MISSED = 1
    USAGE = 2
    NO_ENGINE = 3
    BUILD_FAILED = 4
    INTERRUPTED = 130


class KiroError(Exception):
    """Trouble that a person can act on: one line says what, where and what to do.

    `file` and `line` (1-based) name the place, `fix` is an imperative sentence.
    """

    code: ExitCode = ExitCode.MISSED

    def __init__(
        self, message: str, *, file: str | None = None, line: int | None = None, fix: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.fix = fix

    @property
    def place(self) -> str | None:
        """`file:line`, `file`, or None."""
        if self.file is None:
            return None
        return self.file if self.line is None else f"{self.file}:{self.line}"

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        if not self.fix:
            return f"{where}{self.message}"
        stop = "" if self.message.endswith((".", "?", "!")) else "."
        return f"{where}{self.message}{stop} Fix: {self.fix}"


class UsageError(KiroError):
    """An option was used wrongly."""

    code = ExitCode.USAGE


class ConfigError(KiroError):
    """kiro.yaml, the environment or the repository's layout cannot be used as it is."""

    code = ExitCode.USAGE


class EngineError(KiroError):
    """No usable Docker engine, or it refused what every command needs."""

    code = ExitCode.NO_ENGINE


class BuildFailed(KiroError):
    """A build step failed. `log` is the full log's path, `tail` the step's last lines.

    `attempt` is what the engine did until then, where it was asked at all; `step` the step, where one failed.
    """

    code = ExitCode.BUILD_FAILED
    attempt: BuildRecord | None = None
    step: FailedStep | None = None

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        fix: str | None = None,
        log: str | None = None,
        tail: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, file=file, line=line, fix=fix)
        self.log = log
        self.tail = tail


class BaseUnavailable(BuildFailed):
    """A base image, `ref`, cannot be had."""

    def __init__(
        self, ref: str, message: str, *, fix: str, file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message, file=file, line=line, fix=fix)
        self.ref = ref
