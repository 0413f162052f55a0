"""What the loop tells, as lines of JSON (docs/commands.md)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kiro_invoke.commands.surface import SCHEMA, write_row
from kiro_invoke.loop import told


class JsonLines:
    """Each thing that is told as a line of JSON on standard output (docs/commands.md)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """There is nothing to be shown all the time."""
        yield

    def __call__(self, one: told.Told) -> None:
        row = fields(one)
        if row is not None:
            with self._lock:
                write_row({"schema": SCHEMA, **row})

    def log(self, service: str, line: bytes) -> None:
        """Logs are the containers' own: `kiro logs` has them."""


def fields(one: told.Told) -> dict[str, Any] | None:
    """What is told, as one object; None for what only a screen needs."""
    match one:
        case told.Served():
            return _served(one)
        case told.Broken(change, what, output, since, _):
            row = _change("broken", change) | {"message": what, "serves_old_since": since}
            return row | {"output": output.decode(errors="replace")}
        case told.Superseded(change):
            return _change("superseded", change)
        case told.Trouble(message, fix, service):
            row = {"event": "error", "service": service, "message": message}
            return row | ({"fix": fix} if fix else {})
    return _of_the_rest(one)


def _of_the_rest(one: told.Told) -> dict[str, Any] | None:
    match one:
        case told.Started(service, revision, unreachable, urls):
            row: dict[str, Any] = {"event": "started", "service": service, "revision": revision}
            row |= {"urls": list(urls)}
            return row | ({"not_live": unreachable} if unreachable else {})
        case told.Unaffected(service, paths, cause):
            return {"event": "ignored", "service": service, "paths": list(paths), "cause": cause}
        case told.Refreshed(service, seconds):
            return {"event": "refreshed", "service": service, "seconds": {"total": seconds}}
        case told.Stopped(service, cause):
            return {"event": "stopped", "service": service, "cause": cause}
        case told.Note(message):
            return {"event": "note", "message": message}
        case told.Ready(_, services, polling, broken):
            row = {"event": "ready", "services": list(services), "polling": polling}
            return row | {"broken": list(broken)}
    return None


def _served(one: told.Served) -> dict[str, Any]:
    row = _change("reconciled" if one.reconciled else "served", one.change)
    row["seconds"] = {
        "detect": one.seconds.detect,
        "sync": one.seconds.sync,
        "build": one.seconds.build,
        "restart": one.seconds.restart,
        "total": one.seconds.total,
    }
    row["revision"] = one.revision
    if one.tested is not None:
        row["test"] = {"ok": one.tested.ok, "seconds": round(one.tested.seconds, 3)}
    return row


def _change(event: str, change: told.Change) -> dict[str, Any]:
    return {
        "event": event,
        "service": change.service,
        "paths": list(change.paths),
        "kind": str(change.kind),
        "cause": change.cause,
        "path": str(change.way),
    }
