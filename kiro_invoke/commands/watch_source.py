"""Choose how changes of files are learned of: from the system, or by looking where it does not tell of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from kiro_invoke.loop import told
from kiro_invoke.loop.events import Event, EventSource, Hint, LimitReached
from kiro_invoke.loop.polling import DEFAULT_SECONDS, Poller, mounts, remote_kind, tells_of_writes
from kiro_invoke.loop.watcher import Watcher
from kiro_invoke.model.service import Project


def source(project: Project, post: Callable[[Event], None], tell: told.Tell) -> EventSource:
    """As kiro.yaml says; else the system's own events, unless it is found out that they do not come."""
    seconds = project.watching.poll
    if seconds:
        return Poller(post, seconds, "kiro.yaml or KIRO_WATCH_POLL says so")
    if seconds is None:
        kinds = {remote_kind(service.context, mounts()) for service in project.services} - {""}
        if kinds:
            return Poller(post, DEFAULT_SECONDS, f"on {', '.join(sorted(kinds))} not every change is told")
    try:
        return _watcher(project, post, probes=seconds is None)
    except LimitReached as error:
        poller = Poller(post, DEFAULT_SECONDS, "the system watches no more folders")
        tell(told.Trouble(f"{error.message}: {poller.polling}", error.fix or ""))
        return poller


def _watcher(project: Project, post: Callable[[Event], None], *, probes: bool) -> EventSource:
    """The system's own events, unless it is found out that they do not come."""
    hinted, is_probing = threading.Event(), threading.Event()

    def tell(hint: Hint) -> None:
        hinted.set()
        if not is_probing.is_set():
            post(hint)

    source = Watcher(tell)
    if probes:
        is_probing.set()
        places = {_device(folder): folder for folder in (service.context for service in project.services)}
        places[_device(project.state)] = project.state  # rather there than in a person's folder
        for folder in places.values():
            if not tells_of_writes(source, hinted, folder):
                source.close()
                return Poller(post, DEFAULT_SECONDS, f"no events come from {folder}")
        is_probing.clear()
    return source


def _device(folder: Path) -> int:
    return folder.stat().st_dev
