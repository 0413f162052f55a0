"""A program that answers questions, one after the other, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from kiro_invoke.engine import process
from kiro_invoke.model.errors import KiroError


@dataclass(frozen=True)
class Dialogue:
    """Its two ends. What it answers once it has ended is b""."""

    to: IO[bytes]
    back: IO[bytes]

    def send(self, question: bytes) -> None:
        try:
            self.to.write(question)
            self.to.flush()
        except BrokenPipeError:
            pass  # it has ended: its answer says so

    def line(self) -> bytes:
        return self.back.readline()

    def exactly(self, size: int) -> bytes:
        return self.back.read(size)


@contextmanager
def dialogue(argv: Sequence[str]) -> Iterator[Dialogue]:
    """Start a program and talk to it until the block's end; KiroError if there is none of that name."""
    try:
        piped = process.piped(argv)
        with piped as (to, back):
            yield Dialogue(to, back)
    except FileNotFoundError:
        raise KiroError(f"there is no {argv[0]} here", fix=f"install {argv[0]}") from None
