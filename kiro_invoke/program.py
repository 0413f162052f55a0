"""The `kiro` program: the same tasks for a repository without a tasks.py."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from invoke.exceptions import ParseError
from invoke.program import Program

from kiro_invoke.collection import ns
from kiro_invoke.model.errors import ExitCode
from kiro_invoke.version import __version__

_NO_VALUE = re.compile(r"Flag <Argument: ([\w-]+).*> needed value and was not given one!")


@contextmanager
def _wrong_use() -> Iterator[None]:
    try:
        yield
    except ParseError as error:
        words = _NO_VALUE.sub(r"--\1 needs a value.", str(error))
        sys.stderr.write(f"kiro: {words} Fix: see `kiro --list`, or `kiro --help TASK`.\n")
        raise SystemExit(int(ExitCode.USAGE)) from None


def repeated(words: Sequence[str]) -> str:
    """The first option that is given twice to one task and takes one value, or "".

    Invoke would take the second value for a task's name: `clean-cache --what all --what build` cleans, and then builds.
    """
    given: set[str] = set()
    options: dict[str, type] = {}
    rest = iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if name in options:
            if options[name] is not bool and not equals:
                next(rest, "")  # its value, which may read like a task
            if options[name] is not list and name in given:
                return name
            given.add(name)
        elif word in ns.task_names:
            given = set()
            options = {f"--{argument.names[0]}": argument.kind for argument in ns[word].get_arguments()}
    return ""


class Kiro(Program):
    """Invoke's program with our exit code for wrong use (Invoke's own is 1)."""

    def parse_tasks(self) -> None:
        with _wrong_use():
            if twice := repeated(self.argv[1:]):
                raise ParseError(f"{twice} is given twice.")
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with _wrong_use():
            super().parse_cleanup()


program = Kiro(name="kiro", binary="kiro", binary_names=["kiro"], namespace=ns, version=__version__)
