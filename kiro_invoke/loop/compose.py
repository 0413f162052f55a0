"""Bring a project's services up and down with Docker Compose, from the person's own compose file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kiro_invoke.engine.protocol import Engine
from kiro_invoke.model.errors import ConfigError, EngineError, KiroError

COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
_FOLDER_LABEL = "com.docker.compose.project.working_dir"
MINIMUM_HINT = "install the Docker Compose plugin, 2.20 or newer"


@dataclass(frozen=True)
class Port:
    """A published port: the address on this host, and the service behind it."""

    service: str
    host: str
    port: int


@dataclass(frozen=True)
class Running:
    """A service's container as Compose reports it. `health` is "" without a health check."""

    service: str
    container: str
    state: str
    health: str
    ports: tuple[Port, ...]
    #: the id of the image that the container was made from
    image: str = ""
    #: whether another checkout's Compose made it, under the same project name
    foreign: bool = False


@dataclass(frozen=True)
class Composed:
    """A service as the compose file has it: the image it runs, and the services it needs."""

    name: str
    image: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Compose:
    """Compose for one project on one engine."""

    engine: Engine
    root: Path
    env: Mapping[str, str]
    #: more files, which win over the person's own
    extra: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The file that Compose itself would take, and its override."""
        found = next((self.root / name for name in COMPOSE_FILES if (self.root / name).is_file()), None)
        if found is None:
            raise ConfigError(
                "no compose file", file=COMPOSE_FILES[0], fix="add a compose.yaml with your services"
            )
        override = found.with_name(f"{found.stem.partition('.')[0]}.override{found.suffix}")
        return (found, override) if override.is_file() else (found,)

    @property
    def _all(self) -> tuple[Path, ...]:
        return (*self.files, *self.extra)

    def check(self) -> None:
        """EngineError where the Compose plugin is missing."""
        if not self.engine.compose_version:
            raise EngineError("docker compose is missing", fix=MINIMUM_HINT)

    def config(self) -> Mapping[str, Any]:
        """The file as Compose reads it: variables filled in, override merged."""
        config = json.loads(self._output("config", "--format", "json"))
        assert isinstance(config, dict)
        return config

    def ports(self, services: Sequence[str]) -> tuple[Port, ...]:
        """The fixed ports that the file publishes for `services` (all where none are named)."""
        return tuple(_ports(self.config(), services))

    def services(self) -> tuple[Composed, ...]:
        """The services of the file, in its order."""
        return tuple(_composed(name, found) for name, found in (self.config().get("services") or {}).items())

    def up(self, services: Sequence[str]) -> None:
        """Start the containers from the images as they are, and wait until they are healthy."""
        self._up("--wait", *services)

    def start(self, services: Sequence[str], *, alone: bool = False) -> None:
        """Start the containers from the images as they are; with `alone` nothing that they need."""
        self._up(*(("--no-deps",) if alone else ()), *services)

    def _up(self, *arguments: str) -> None:
        done = self.engine.compose_output(self._all, "up", "--detach", "--no-build", *arguments, env=self.env)
        if not done.ok:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise KiroError(
                f"compose up: {lines[-1].strip() if lines else 'failed'}",
                file=self.files[0].name,
                fix="see `kiro logs`",
            )

    def down(self, *, volumes: bool) -> int:
        return self.engine.compose(self.files, "down", *(("--volumes",) if volumes else ()), env=self.env)

    def logs(self, services: Sequence[str], *, follow: bool, tail: str) -> int:
        options = ["--tail", tail, *(("--follow",) if follow else ())]
        return self.engine.compose(self.files, "logs", *options, *services, env=self.env)

    def running(self) -> tuple[Running, ...]:
        """The project's containers that exist now."""
        text = self._output("ps", "--all", "--format", "json").strip()
        rows = (
            json.loads(text) if text.startswith("[") else [json.loads(row) for row in text.split("\n") if row]
        )
        return tuple(_running(row, self.root) for row in rows)

    def _output(self, *arguments: str) -> str:
        done = self.engine.compose_output(self.files, *arguments, env=self.env)
        if not done.ok:
            words = " ".join(done.stderr.split())
            raise ConfigError(f"docker compose: {words}", file=self.files[0].name, fix="correct the file")
        return done.stdout


def check_ports(
    ports: Sequence[Port],
    own: Sequence[Running],
    *,
    is_free: Callable[[str, int], bool],
    holder: Callable[[int], str | None],
) -> None:
    """KiroError that names the holder of the first port somebody else has."""
    ours = {port.port for running in own for port in running.ports if running.state == "running"}
    for port in ports:
        if port.port not in ours and not is_free(port.host, port.port):
            who = holder(port.port) or "another process"
            raise KiroError(
                f"{port.service}: port {port.port} on {port.host} is in use by {who}",
                fix=f"stop it, or give {port.service} another port (see its ports: in the compose file)",
            )


def _ports(config: Mapping[str, Any], services: Sequence[str]) -> Iterator[Port]:
    for name, service in (config.get("services") or {}).items():
        if services and name not in services:
            continue
        for port in service.get("ports") or ():
            published = str(port.get("published") or "")
            if published.isdigit() and published != "0" and port.get("protocol", "tcp") == "tcp":
                yield Port(name, port.get("host_ip") or "0.0.0.0", int(published))


def needed(services: Sequence[Composed], names: Sequence[str]) -> tuple[str, ...]:
    """The services that starting `names` (all where none are named) starts: themselves and what they need."""
    known = {service.name: service for service in services}
    todo, found = list(names or known), set[str]()
    while todo:
        name = todo.pop()
        if name in known and name not in found:
            found.add(name)
            todo += known[name].needs
    return tuple(name for name in known if name in found)


def check_images(services: Sequence[Composed], tags: Mapping[str, str], file: str) -> None:
    """ConfigError where the file runs another image than the one that is built for a service.

    `tags` maps services to the images that are built for them. Compose would start an older image, or pull a
    stranger's.
    """
    for service in services:
        tag = tags.get(service.name)
        if tag is not None and service.image != tag:
            raise ConfigError(
                f"service {service.name} runs the image {service.image or 'of its own build:'}, but {tag} is built",
                file=file,
                fix=f"write `image: {tag}` there, or the other image's name in kiro.yaml",
            )


def check_checkout(running: Sequence[Running]) -> None:
    """KiroError where the containers of this project name were made from another folder."""
    if foreign := [one.container for one in running if one.foreign]:
        raise KiroError(
            f"container {foreign[0]} belongs to another checkout whose Compose project has the same name",
            fix="stop that one first, or set COMPOSE_PROJECT_NAME here",
        )


def check_runs(running: Sequence[Running], built: Mapping[str, str]) -> None:
    """KiroError where a container does not run the image that was just built for it (service -> image id)."""
    for one in running:
        wanted = built.get(one.service)
        if wanted and one.image and one.image != wanted:
            raise KiroError(
                f"{one.service}: container {one.container} does not run the image that was just built;"
                " another build took its name",
                fix="run it again, and not beside another checkout of the same project",
            )


def _composed(name: str, service: Mapping[str, Any]) -> Composed:
    depends = service.get("depends_on") or {}
    return Composed(name, str(service.get("image") or ""), tuple(depends))


def _running(row: Mapping[str, Any], root: Path) -> Running:
    service = str(row.get("Service", ""))
    ports = tuple(
        Port(service, str(found.get("URL") or "0.0.0.0"), int(found["PublishedPort"]))
        for found in row.get("Publishers") or ()
        if found.get("PublishedPort")
    )
    labels = str(row.get("Labels") or "")
    image = re.search(r"com\.docker\.compose\.image=(sha256:[0-9a-f]+)", labels)
    made_here = f"{_FOLDER_LABEL}={root}," in f"{labels},"
    return Running(
        service,
        str(row.get("Name", "")),
        str(row.get("State", "")),
        str(row.get("Health", "")),
        ports,
        image[1] if image else "",
        foreign=_FOLDER_LABEL in labels and not made_here,
    )
