"""The engine's own configuration file: the limit of its build cache put in, and taken out again."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from kiro_invoke.engine.installed import STATE_FILE, read_state
from kiro_invoke.engine.privileged import DRAFT, Privileged
from kiro_invoke.engine.protocol import Run
from kiro_invoke.engine.setup import NewFile
from kiro_invoke.model.errors import ConfigError, EngineError

#: Where an engine looks for it if it is not told another place.
DAEMON_JSON = "/etc/docker/daemon.json"


def merged(text: str, gc: Mapping[str, Any]) -> str:
    """A daemon.json with `builder.gc`, every other key as it was; ValueError where it is none or has one already."""
    found = json.loads(text) if text.strip() else {}
    builder = found.setdefault("builder", {}) if isinstance(found, dict) else None
    if not isinstance(builder, dict):
        raise ValueError("it holds no JSON object")
    if builder.get("gc") is not None:
        raise ValueError("it sets builder.gc already")
    builder["gc"] = gc
    return _written(found)


def parted(text: str, gc: str) -> str | None:
    """A daemon.json without the `builder.gc` (given as JSON) that was merged into it; None where that is not in it."""
    try:
        found = json.loads(text)
        if found["builder"]["gc"] != json.loads(gc):
            return None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    del found["builder"]["gc"]
    if not found["builder"]:
        del found["builder"]
    return _written(found)


def set_gc(
    gc: Mapping[str, Any],
    run: Run,
    *,
    sudo: bool,
    path: Path = Path(DAEMON_JSON),
    state: Path = Path(STATE_FILE),
) -> None:
    """Put `builder.gc` into the configuration of an engine that a setup installed; its undo takes it out again.

    ConfigError where the file is not what it should be: nothing is written then.
    """
    added = read_state(state)
    if added is None:
        raise EngineError("kiro did not install this engine", fix="set the limit yourself")
    there = path.exists()
    try:
        text = merged(path.read_text(encoding="utf-8") if there else "", gc)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"not changed: {error}", file=str(path), fix="mend it, or set builder.gc yourself"
        ) from None
    shell = Privileged(run, sudo=sudo)
    _check(text, shell)
    shell.write(NewFile(str(state), json.dumps(asdict(replace(added, gc=json.dumps(gc))))))
    mode = stat.S_IMODE(path.stat().st_mode) if there else 0o644
    shell.write(NewFile(str(path), text, f"{mode:04o}"))


def take_out(gc: str, shell: Privileged, *, path: Path = Path(DAEMON_JSON)) -> None:
    """Take out what `set_gc` put in, and the file with it where it holds nothing else; what was changed since stays."""
    with suppress(OSError, UnicodeDecodeError):
        text = parted(path.read_text(encoding="utf-8"), gc)
        if text is not None and not json.loads(text):
            shell(["rm", "-f", "--", str(path), f"{path}{DRAFT}"])
        elif text is not None:
            shell.write(NewFile(str(path), text, f"{stat.S_IMODE(path.stat().st_mode):04o}"))


def _check(text: str, shell: Privileged) -> None:
    """Let the engine say whether it would start with it; EngineError if not."""
    tried = shell.given(["dockerd", "--validate", "--config-file=/dev/stdin"], text)
    if not tried.ok:
        said = (tried.stderr.strip() or tried.stdout.strip() or "no reason given").splitlines()[-1]
        raise EngineError(f"the engine would not start with that: {said}", file=DAEMON_JSON)


def _written(found: Mapping[str, Any]) -> str:
    return f"{json.dumps(found, indent=2, ensure_ascii=False)}\n"
