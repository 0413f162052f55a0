"""The full log of a build, kept as a file: the last KEEP of them."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from kiro_invoke.builds.progress import Ended, Event, Observer, Printed
from kiro_invoke.engine.files import refuse_links

KEEP = 20


class BuildLog:
    """An open log. Use as a context manager.

    A disk without room for all of it fails no build: `trouble` then says why it is cut short, else it is "".
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        self.path = path
        self._file = file
        self.trouble = ""

    @classmethod
    def begin(cls, folder: Path) -> BuildLog:
        """Open a new log in `folder`, which lies in the state folder, and drop the oldest beyond KEEP.

        What steps print may be secret: the folder and the log are for their owner alone. ConfigError where
        either folder is a link: what lies behind it is somebody's.
        """
        refuse_links(folder.parent, folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(PermissionError):  # it is another user's, who lets us write there
            folder.chmod(0o700)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
        path = folder / f"build-{stamp}.log"
        for old in sorted(folder.glob("build-*.log"))[: -(KEEP - 1)]:
            with suppress(FileNotFoundError):
                old.unlink()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        return cls(path, os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace"))

    def write(self, text: str) -> None:
        if self.trouble:
            return
        try:
            self._file.write(f"{text}\n")
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def flush(self) -> None:
        """Write what is written by now to the disk, as far as it goes."""
        try:
            self._file.flush()
        except OSError as error:
            self.trouble = error.strerror or str(error)

    def beside(self, observer: Observer) -> Observer:
        """An observer that tells both this log and `observer`."""

        def both(event: Event) -> None:
            if isinstance(event, Printed):
                self.write(f"[{event.step.place}] {event.line}")
            elif isinstance(event, Ended):
                verdict = event.error or ("CACHED" if event.cached else f"{event.seconds:.1f} s")
                self.write(f"[{event.step.place}] {event.step.text}: {verdict}")
            observer(event)

        return both

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # it is closed all the same
            self._file.close()
