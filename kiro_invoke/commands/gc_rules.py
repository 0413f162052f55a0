"""Which rules an engine's garbage collection of its build cache follows, and who says so."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kiro_invoke.cache.collecting import GcRule, default_rules, rules_set, rules_told
from kiro_invoke.engine.daemon_json import DAEMON_JSON
from kiro_invoke.engine.protocol import Engine, EngineInfo


@dataclass(frozen=True)
class GcRules:
    """The rules in order (none: the engine never collects), and where they are from, in words; None: not known.

    `disk_bytes` and `disk_free` are those of the disk that the engine's data is on, None where it is not here.
    `waiting` is the file that sets rules which the engine does not know yet.
    """

    rules: tuple[GcRule, ...] | None
    origin: str
    disk_bytes: int | None = None
    disk_free: int | None = None
    waiting: str = ""


def gc_rules(
    engine: Engine, info: EngineInfo, *, told: str | None = None, daemon_json: Path = Path(DAEMON_JSON)
) -> GcRules:
    """The rules of the builder in use: as buildx tells them, else as configured, else as the engine's defaults are.

    `told` is what `engine.builder()` said, where it was asked already.
    """
    size, free = _disk(info)
    said = engine.builder() if told is None else told
    if "Status:" in said and "running" in said:
        found = rules_told(said)
        waiting = "" if found or size is None or not _set(daemon_json, size, engine) else str(daemon_json)
        return GcRules(found, "docker buildx inspect", size, free, waiting)
    if size is None:
        return GcRules(None, "the engine's machine is not this one, and buildx does not tell")
    version = engine.facts.version
    written = _set(daemon_json, size, engine)
    if written is not None:
        return GcRules(written, str(daemon_json), size, free)
    return GcRules(default_rules(size, version), f"the defaults of engine {version}", size, free)


def _set(daemon_json: Path, size: int, engine: Engine) -> tuple[GcRule, ...] | None:
    """The rules that the file sets; None where it sets none."""
    with suppress(OSError):
        return rules_set(daemon_json.read_text(errors="replace"), size, engine.facts.version)
    return None


def _disk(info: EngineInfo) -> tuple[int | None, int | None]:
    """Size and free bytes of the disk with the engine's data; None where that is not here."""
    if info.is_here and info.root:
        with suppress(OSError):
            disk = shutil.disk_usage(info.root)
            return disk.total, disk.free
    return None, None
