"""The `kiro` program: the same tasks for a repository without a tasks.py."""

from __future__ import annotations

import sys

from invoke.exceptions import ParseError
from invoke.program import Program

from kiro_invoke.collection import ns
from kiro_invoke.model.errors import ExitCode
from kiro_invoke.version import __version__


class Kiro(Program):
    """Invoke's program with our exit code for wrong use (Invoke's own is 1)."""

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            sys.stderr.write(f"kiro: {error} Fix: see `kiro --list`, or `kiro --help TASK`.\n")
            raise SystemExit(int(ExitCode.USAGE)) from None


program = Kiro(name="kiro", binary="kiro", namespace=ns, version=__version__)


def main() -> None:
    """Entry point of the console script."""
    program.run()


if __name__ == "__main__":
    main()
