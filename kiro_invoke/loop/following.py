"""Follow what containers say and what happens to them, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kiro_invoke.engine.containers import Containers, Happened
from kiro_invoke.loop.events import EngineLost, Event
from kiro_invoke.model.errors import EngineError

#: Is given a service, and a line of its log.
OnLine = Callable[[str, bytes], None]


class Following:
    """The happenings and the logs of a project's containers. `post` and `on_line` are called from its threads."""

    def __init__(
        self,
        containers: Containers,
        project: str,
        post: Callable[[Event], None],
        on_line: OnLine,
        since: float,
    ) -> None:
        self._containers = containers
        self._project = project
        self._post = post
        #: what was printed and what happened from then on is told
        self._since = since
        self._on_line = on_line
        self._round = 0
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def restart(self) -> None:
        """Begin, or begin again when the engine was gone."""
        self._round += 1
        number, since = self._round, self._since
        self._since = time.time()
        self._logged.clear()
        threading.Thread(target=self._follow, args=(number, since), daemon=True).start()
        for one in self._containers.of_project(self._project):
            if one.running:
                self._log(one.id, one.service, since)

    def happened(self, event: Happened) -> None:
        """A container that starts is listened to from then on."""
        if event.action == "start":
            self._log(event.container, event.service, event.when or time.time())

    def close(self) -> None:
        """Nobody listens any more."""
        self._round += 1

    def _follow(self, number: int, since: float) -> None:
        try:
            for event in self._containers.happenings(self._project, since):
                if number != self._round:
                    return
                self._post(event)
        except EngineError:
            pass
        if number == self._round:
            self._post(EngineLost())

    def _log(self, container: str, service: str, since: float) -> None:
        with self._lock:
            if container in self._logged:
                return
            self._logged.add(container)
        threading.Thread(
            target=self._read_log, args=(container, service, since, self._round), daemon=True
        ).start()

    def _read_log(self, container: str, service: str, since: float, number: int) -> None:
        try:
            for line in self._containers.log(container, since):
                if number != self._round:
                    return
                self._on_line(service, line)
        except EngineError:
            pass
        with self._lock:
            self._logged.discard(container)
