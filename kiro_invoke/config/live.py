"""What kiro.yaml says of live updates, and of how changes are watched for."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from kiro_invoke.config.names import shown
from kiro_invoke.config.nodes import Given, Value, outranked
from kiro_invoke.model.errors import ConfigError
from kiro_invoke.model.live import GivenLive, SyncRule, Watching
from kiro_invoke.model.service import Setting

_COMMANDS = ("run", "install", "before_restart", "restart", "test")
_LIVE = ("sync", *_COMMANDS)
_TIMES = {"quiet_ms": "quiet", "cap_ms": "cap", "stop_ms": "stop"}
_WATCH = (*_TIMES, "poll")
_LONGEST_MS = 600_000


def live(value: Value, key: str) -> tuple[GivenLive, tuple[Setting, ...]]:
    """A service's `live:`, and its lines of `kiro config`."""
    fields = value.known_fields(_LIVE)
    given = {name: fields[name].text() for name in _COMMANDS if name in fields}
    settings = [each.setting(f"{key}.{name}") for name, each in given.items()]
    sync = None
    if "sync" in fields:
        rows = {folder: place.text() for folder, place in fields["sync"].fields().items()}
        if not rows:
            raise fields["sync"].refused(
                "sync is empty", "write `FOLDER: /place/in/the/container`, or delete it"
            )
        sync = tuple(_rule(folder, place) for folder, place in rows.items())
        settings += [place.setting(f"{key}.sync.{shown(folder)}") for folder, place in rows.items()]
    values = tuple((name, each.text) for name, each in given.items())
    return GivenLive(values, sync), tuple(settings)


def watching(value: Value | None, environ: Mapping[str, str]) -> tuple[Watching, tuple[Setting, ...]]:
    """The section `watch:`, and what `KIRO_WATCH_*` say instead."""
    fields = value.known_fields(_WATCH) if value else {}
    given: dict[str, Given] = {}
    for name in _WATCH:
        read = Value.scalar if name == "poll" else Value.whole_number
        each = outranked(fields.get(name), f"KIRO_WATCH_{name.upper()}", environ, read)
        if each is not None:
            given[name] = each
    times = {_TIMES[name]: _seconds(name, each) for name, each in given.items() if name in _TIMES}
    poll = _poll(given["poll"]) if "poll" in given else None
    settings = tuple(each.setting(f"watch.{name}") for name, each in given.items())
    chosen = Watching(poll=poll, **times)
    if chosen.cap < chosen.quiet:
        blamed = given.get("cap_ms") or given["quiet_ms"]
        raise blamed.refused("cap_ms is less than quiet_ms", "give cap_ms the larger number")
    return chosen, settings


def _rule(folder: str, place: Given) -> SyncRule:
    inner = posixpath.normpath(folder)
    if folder.startswith("/") or inner == ".." or inner.startswith("../"):
        message = f'sync: "{shown(folder)}" is no folder of the build context'
        raise place.refused(message, "write a path in the context, `.` for all of it")
    if not place.text.startswith("/") or ".." in place.text.split("/"):
        message = f'sync: "{shown(place.text)}" is no place in a container'
        raise place.refused(message, "write an absolute path, like /app/src")
    return SyncRule("" if inner == "." else inner, posixpath.normpath(place.text))


def _seconds(name: str, given: Given) -> float:
    text = given.text
    if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= _LONGEST_MS):
        raise given.refused(
            f'watch.{name}: "{shown(text)}" is no number of milliseconds',
            f"write a whole number from 1 to {_LONGEST_MS}",
        )
    return int(text) / 1000


def _poll(given: Given) -> float | None:
    """Seconds between looks; 0.0 for never, None where it is to be found out."""
    match given.text.lower():
        case "auto":
            return None
        case "true" | "always":
            return 1.0
        case "false" | "never":
            return 0.0
    try:
        seconds = float(given.text)
    except ValueError:
        seconds = -1.0
    if not 0.1 <= seconds <= 3600:
        raise _no_poll(given)
    return seconds


def _no_poll(given: Given) -> ConfigError:
    return given.refused(
        f'watch.poll: "{shown(given.text)}" is not understood',
        "write true, false, auto, or seconds from 0.1 to 3600",
    )
