"""The door of the `kiro` command: loads the program, and as little else as can be."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def main() -> None:
    """Entry point of the console script."""
    with _loading():
        from kiro_invoke.program import program
    # nearly all that a command makes stays: to look through it often takes 20 ms of a build
    gc.set_threshold(50_000)
    program.run()


@contextmanager
def _loading() -> Iterator[None]:
    """While inside, imports cost less.

    Nothing is collected (all of it stays), and `unittest.mock`, which brings asyncio, is put off: Invoke
    imports it for a class for tests. Together they are a third of the time that Invoke takes to load.
    """
    late = ModuleType("unittest.mock")
    late.__dict__["Mock"] = _mock
    put_off = sys.modules.setdefault(late.__name__, late) is late
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        if put_off:
            del sys.modules[late.__name__]


def _mock(*args: object, **options: object) -> object:
    """The real Mock, for whoever makes one after all."""
    from unittest.mock import Mock

    return Mock(*args, **options)


if __name__ == "__main__":
    main()
