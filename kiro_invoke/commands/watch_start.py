"""Bring the services up for the loop: what has to be built, with what they are started."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.builds.bake import LABEL_REVISION
from kiro_invoke.builds.built import read_note
from kiro_invoke.commands.making import ImagesAndContainers
from kiro_invoke.engine import ports
from kiro_invoke.engine.docker import DockerEngine
from kiro_invoke.engine.files import write_whole
from kiro_invoke.loop import told
from kiro_invoke.loop.attach import Attaching, demanded
from kiro_invoke.loop.compose import Compose, check_checkout, check_ports
from kiro_invoke.loop.decide import Way, decide
from kiro_invoke.loop.lane import Lane
from kiro_invoke.loop.session import SessionLost
from kiro_invoke.model.errors import BuildFailed, KiroError
from kiro_invoke.model.live import Watching

#: The ports at which debuggers are offered, by ecosystem; Node's for the others.
_DEBUG_PORTS = {"cargo": 2345}
_NODE_PORT = 9229
_OVERRIDE = "compose.json"


def override_of(folder: Path) -> Path:
    """The file that says what watched containers get besides the person's own compose file; there is one."""
    file = folder / _OVERRIDE
    if not file.exists():
        write_whole(file, _text({}))
    return file


@dataclass(frozen=True)
class Starting:
    """Starts what the loop is to watch, with what live updates need if they are `live`.

    `debug` is a service that gets a debugger's port.
    """

    engine: DockerEngine
    compose: Compose
    attaching: Attaching
    making: ImagesAndContainers
    tell: told.Tell
    live: bool
    debug: str | None

    def check(self, services: Sequence[str]) -> frozenset[str]:
        """The services that run; KiroError where the others cannot be started, as another has their place."""
        before = self.compose.running()
        check_checkout(before)
        check_ports(
            self.compose.ports(services),
            before,
            is_free=ports.is_free,
            holder=lambda port: self.engine.port_holder(port) or ports.holder(port),
        )
        return frozenset(one.service for one in before if one.state == "running")

    def run(self, lanes: Mapping[str, Lane], services: Sequence[str], *, must_build: bool) -> None:
        """Build what no live update brings up to date, as one graph, and start everything that does not run.

        What does not build is left to the loop, and to the next save, unless it `must_build`.
        """
        stale = [name for name, lane in lanes.items() if self._needs_image(lane)]
        try:
            if stale:
                self.making.build_together(stale)
        except BuildFailed as error:
            if must_build:
                raise
            place = f"{error.place}: " if error.place else ""
            self.tell(told.Trouble(f"{place}{error.message}", error.fix or ""))
        wanted = {name: each for name, lane in lanes.items() if (each := self._besides(name, lane))}
        write_whole(self.compose.extra[0], _text(wanted))
        try:
            self.making.start_together(services)
        except KiroError as error:
            self.tell(told.Trouble(error.message, error.fix or ""))

    def _needs_image(self, lane: Lane) -> bool:
        """Whether its image has to be built before what is saved can be served."""
        image, shelf = self.engine.image(lane.sight.recipe.tag), lane.sight.shelf
        note = read_note(shelf)
        if image is None or note is None or image.labels.get(LABEL_REVISION) != note.revision:
            return True
        try:
            self.attaching.attach(lane, self.attaching.look().get(lane.name, []))
            standing = lane.standing(lane.rows(), paused=False, live=self.live)
            return decide(standing).way is Way.IMAGE
        except SessionLost:
            return False  # it has just ended: the loop sees to it
        finally:
            self.attaching.detach(lane)

    def _besides(self, name: str, lane: Lane) -> dict[str, Any]:
        """What its container gets besides."""
        image = self.engine.image(lane.sight.recipe.tag)
        wanted = demanded(image.labels) if image and self.live else {}
        # Compose fills variables in
        environment = {name: value.replace("$", "$$") for name, value in wanted.items()}
        stop = lane.sight.project.watching.stop
        if stop != Watching().stop:
            environment["KIRO_STOP_SECONDS"] = f"{stop:g}"
        if name != self.debug:
            return {"environment": environment} if environment else {}
        port = _DEBUG_PORTS.get(lane.sight.recipe.service.ecosystem, _NODE_PORT)
        environment["KIRO_DEBUG_PORT"] = str(port)
        self.tell(told.Note(f"{name}: a debugger may attach at 127.0.0.1:{port} (docs/watch.md)"))
        return {
            "environment": environment,
            "ports": [f"127.0.0.1:{port}:{port}"],
            "cap_add": ["SYS_PTRACE"],
        }


def _text(services: Mapping[str, Any]) -> str:
    return json.dumps({"services": services}, indent=2) + "\n"
