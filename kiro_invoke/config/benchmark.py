"""What kiro.yaml says of how a service is measured."""

from __future__ import annotations

from pathlib import Path

from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Given, Value
from kiro_invoke.config.paths import inside, is_file, relative
from kiro_invoke.model.service import GivenBenchmark, Setting

_FILES = ("standard", "standard_dev")
_KEYS = (*_FILES, "source")


def benchmark(
    value: Value, key: str, context: Path, root: Path
) -> tuple[GivenBenchmark, tuple[Setting, ...]]:
    """A service's `benchmark:`, and its lines of `kiro config`. Dockerfiles are relative to the repository, the
    source to the context.
    """
    fields = value.known_fields(_KEYS)
    given = {name: field.text() for name, field in fields.items()}
    settings = tuple(each.setting(f"{key}.{name}") for name, each in given.items())
    files = {name: _file(given[name], name, root, root) for name in _FILES if name in given}
    source = ""
    if "source" in given:
        source = relative(_file(given["source"], "source", context, root), context)
    return GivenBenchmark(files.get("standard"), files.get("standard_dev"), source), settings


def _file(given: Given, key: str, base: Path, root: Path) -> Path:
    path = inside(given, key, base, root)
    if not is_file(path) or not path.is_relative_to(base):
        raise given.refused(
            f'{key} "{shown(given.text)}" is no file in {relative(base, root)}',
            f"create it, or correct {key}:",
        )
    return path
