"""The full log of a build, kept as a file: the last KEEP of them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from kiro_invoke.builds.progress import Observer, StepName

KEEP = 20


class BuildLog:
    """An open log. Use as a context manager."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file = file

    @classmethod
    def begin(cls, folder: Path) -> BuildLog:
        """Open a new log in `folder` and drop the oldest beyond KEEP."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        path = folder / f"build-{stamp}.log"
        for old in sorted(folder.glob("build-*.log"))[: -(KEEP - 1)]:
            with suppress(FileNotFoundError):
                old.unlink()
        return cls(path, path.open("w", encoding="utf-8"))

    def write(self, text: str) -> None:
        self._file.write(f"{text}\n")

    def beside(self, observer: Observer) -> Observer:
        """An observer that tells both this log and `observer`."""
        return _Both(self, observer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()


class _Both:
    def __init__(self, log: BuildLog, observer: Observer) -> None:
        self._log = log
        self._observer = observer

    def started(self, name: StepName | None, label: str) -> None:
        self._observer.started(name, label)

    def printed(self, name: StepName | None, line: str) -> None:
        where = f"{name.target} {name.stage}" if name else "engine"
        self._log.write(f"[{where}] {line}")
        self._observer.printed(name, line)

    def ended(self, name: StepName | None, label: str, *, cached: bool, seconds: float, error: str) -> None:
        verdict = error or ("CACHED" if cached else f"{seconds:.1f} s")
        self._log.write(f"{label}: {verdict}")
        self._observer.ended(name, label, cached=cached, seconds=seconds, error=error)
