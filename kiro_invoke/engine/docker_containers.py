"""Containers for real: questions through the API, processes, events and logs through the Docker SDK."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import docker
from docker.utils.socket import SocketError, frames_iter

from kiro_invoke.engine.api import Api, Refused, Unanswered, row, rows, short
from kiro_invoke.engine.client import TROUBLE
from kiro_invoke.engine.containers import (
    PROJECT_LABEL,
    SERVICE_LABEL,
    ChannelClosed,
    ContainerFacts,
    Happened,
)
from kiro_invoke.model.errors import EngineError

_ACTIONS = ("start", "die", "destroy")
#: What a socket that is let go of, or an engine that is gone, is met with.
_GONE = (OSError, SocketError, ValueError, AttributeError, *TROUBLE)


class DockerContainers:
    """Those of one engine (see containers.Containers). `client` makes an SDK client of its own for each stream."""

    def __init__(self, api: Api, client: Callable[[], docker.APIClient]) -> None:
        self._api = api
        self._client = client

    def of_project(self, project: str) -> tuple[ContainerFacts, ...]:
        filters = json.dumps({"label": [f"{PROJECT_LABEL}={project}"]})
        found = rows(self._ask("GET", "/containers/json", {"all": "true", "filters": filters}))
        facts = (self._facts(str(one["Id"])) for one in found)
        return tuple(one for one in facts if one is not None)

    def open(self, container: str, argv: Sequence[str], user: str) -> DockerChannel:
        api = self._client()
        try:
            made = api.exec_create(container, list(argv), stdin=True, user=user)
            stream = api.exec_start(made["Id"], socket=True)
        except TROUBLE as error:
            api.close()
            raise ChannelClosed(short(error)) from None
        return DockerChannel(api, stream)

    def signal(self, container: str, name: str) -> None:
        self._ask("POST", f"/containers/{container}/kill", {"signal": name})

    def restart(self, container: str, seconds: int) -> None:
        self._ask("POST", f"/containers/{container}/restart", {"t": str(seconds)})

    def stop(self, container: str, seconds: int | None) -> None:
        query = {} if seconds is None else {"t": str(seconds)}
        self._ask("POST", f"/containers/{container}/stop", query)

    def happenings(self, project: str, since: float) -> Iterator[Happened]:
        filters = {"type": ["container"], "event": list(_ACTIONS), "label": [f"{PROJECT_LABEL}={project}"]}
        api = self._client()
        try:
            for event in api.events(decode=True, filters=filters, since=int(since)):
                yield _happened(event)
        except _GONE:
            return
        finally:
            api.close()

    def log(self, container: str, since: float) -> Iterator[bytes]:
        api = self._client()
        rest = b""
        try:
            for piece in api.logs(container, stream=True, follow=True, since=since):
                *lines, rest = (rest + piece).split(b"\n")
                yield from lines
        except _GONE:
            pass
        finally:
            api.close()
        if rest:
            yield rest

    def _facts(self, container: str) -> ContainerFacts | None:
        try:
            found = row(self._ask("GET", f"/containers/{container}/json"))
            image = row(self._ask("GET", f"/images/{found['Image']}/json"))
        except _NotThere:
            return None
        return container_facts(found, image)

    def _ask(self, method: str, path: str, query: Mapping[str, str] | None = None) -> object:
        try:
            return self._api.ask(method, path, query)
        except Refused as answer:
            if answer.status in {404, 409}:
                raise _NotThere(answer.args[0]) from None
            raise EngineError(f"the engine refused: {answer}", fix="see whether it still runs") from None
        except Unanswered as error:
            raise EngineError(f"the engine is gone: {error}", fix="start it again") from None


class _NotThere(EngineError):
    """No such container or image, or not in that state."""


class DockerChannel:
    """A process that was started in a container (see containers.Channel)."""

    def __init__(self, api: docker.APIClient, stream: object) -> None:
        self._api = api
        self._stream: Any = stream
        # over a unix socket the SDK gives a file of it, which cannot be written
        self._raw: Any = getattr(stream, "_sock", stream)
        self._raw.settimeout(None)
        self._frames = frames_iter(stream, tty=False)  # type: ignore[no-untyped-call]

    def send(self, data: bytes) -> None:
        try:
            self._raw.sendall(data)
        except _GONE as error:
            raise ChannelClosed(short(error)) from None

    def receive(self) -> bytes:
        try:
            _, data = next(self._frames)
        except (StopIteration, *_GONE):
            return b""
        return bytes(data)

    def close(self) -> None:
        with suppress(*_GONE):
            self._raw.shutdown(socket.SHUT_RDWR)
        with suppress(*_GONE):
            self._stream.close()
        with suppress(*_GONE):
            self._api.close()


def container_facts(found: Mapping[str, Any], image: Mapping[str, Any]) -> ContainerFacts:
    """What the engine tells of a container and its image, in short."""
    config, state = found["Config"], found["State"]
    labels = dict(config.get("Labels") or {})
    health = tuple((config.get("Healthcheck") or {}).get("Test") or ())
    ports = (each.partition("/") for each in config.get("ExposedPorts") or {})
    return ContainerFacts(
        id=str(found["Id"]),
        name=str(found["Name"]).removeprefix("/"),
        service=labels.get(SERVICE_LABEL, ""),
        image=str(found["Image"]),
        running=bool(state.get("Running")) and not state.get("Restarting"),
        exit_code=int(state.get("ExitCode") or 0),
        condition=str((state.get("Health") or {}).get("Status") or "").replace("none", ""),
        folder=str(config.get("WorkingDir") or "/"),
        labels=labels,
        image_env=tuple((image.get("Config") or {}).get("Env") or ()),
        env=tuple(config.get("Env") or ()),
        health=() if health[:1] == ("NONE",) else health,
        ports=tuple(int(number) for number, _, kind in ports if number.isdigit() and kind in ("", "tcp")),
        binds=tuple(
            str(mount["Destination"]) for mount in found.get("Mounts") or () if mount.get("Type") == "bind"
        ),
    )


def _happened(event: Mapping[str, Any]) -> Happened:
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    return Happened(
        container=str(actor.get("ID") or ""),
        service=str(attributes.get(SERVICE_LABEL) or ""),
        action=str(event.get("Action") or ""),
        code=str(attributes.get("exitCode") or ""),
        when=float(event.get("timeNano") or 0) / 1e9,
    )
