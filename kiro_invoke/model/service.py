"""A repository as the tool sees it: its project, services, and where each setting came from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from kiro_invoke.model.live import AS_IT_IS, PATIENT, GivenLive, Watching
from kiro_invoke.model.shared import Builder, SharedCache
from kiro_invoke.model.shipment import USUALLY_ATTESTED, Attest


class Origin(StrEnum):
    """Where a value came from, strongest first."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    FILE = "kiro.yaml"
    DETECTED = "detected"


@dataclass(frozen=True)
class Setting:
    """One value of the configuration for `kiro config`. `where` is `file:line`, a variable, or a file found."""

    key: str
    value: str
    origin: Origin
    where: str = ""


@dataclass(frozen=True)
class Secret:
    """A build secret: `id` and where the engine's client reads it (`file:PATH` or `env:NAME`)."""

    id: str
    source: str


@dataclass(frozen=True)
class PathRule:
    """A pattern of paths in a service's context, as in an ignore file, and where it was given (`kiro.yaml:9`)."""

    pattern: str
    where: str


@dataclass(frozen=True)
class GivenBenchmark:
    """What kiro.yaml says of how a service is measured: the unoptimized Dockerfiles that it is compared with, and the
    file of its context that is edited ("": where its program begins).
    """

    standard: Path | None = None
    standard_dev: Path | None = None
    source: str = ""


#: Nothing was said.
_USUAL = GivenBenchmark()


@dataclass(frozen=True)
class Service:
    """A service that is built into images. Paths are absolute; either Dockerfile may be None.

    `dependency_inputs` are files that its dependency layer is made from besides those that its ecosystem knows;
    changes of what matches `ignore` are no reason to build. `live`: what kiro.yaml says of updates of its container.
    """

    name: str
    context: Path
    image: str
    ecosystem: str
    dockerfile: Path | None
    fast_dockerfile: Path | None
    dependency_inputs: tuple[PathRule, ...] = ()
    ignore: tuple[PathRule, ...] = ()
    live: GivenLive = AS_IT_IS
    benchmark: GivenBenchmark = _USUAL
    #: What its production image is built for; empty: for the platform of whatever builds it.
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recording:
    """Whether builds are remembered, and for how many seconds (None: for ever)."""

    record: bool = True
    keep_seconds: float | None = 365 * 86_400.0


#: What is to stay free on the engine's disk, in bytes, where nothing else was said.
DISK_FLOOR = 3_000_000_000


@dataclass(frozen=True)
class Project:
    """The whole configuration, merged. `root` is the repository's folder, absolute.

    `disk_floor`: the bytes that builds are to leave free on the engine's disk, 0 where nobody looks.
    """

    root: Path
    name: str
    services: tuple[Service, ...]
    ca_bundle: Path | None = None
    base_images: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    ssh: tuple[str, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    settings: tuple[Setting, ...] = ()
    watching: Watching = PATIENT
    recording: Recording = Recording()
    disk_floor: int = DISK_FLOOR
    #: None: the engine's own.
    builder: Builder | None = None
    shared: SharedCache | None = None
    attest: Attest = USUALLY_ATTESTED
    #: The files that say what is built and run, with their contents' hashes, as they were before they were read.
    files: tuple[tuple[str, str], ...] = ()
    #: The services that were not chosen.
    others: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all services, chosen or not."""
        return tuple(dict.fromkeys((*(service.name for service in self.services), *self.others)))

    def only(self, names: Collection[str]) -> Project:
        """The same, with these of its chosen services."""
        chosen = tuple(service for service in self.services if service.name in names)
        others = tuple(name for name in self.names if name not in names)
        return replace(self, services=chosen, others=others)

    @property
    def checkout(self) -> str:
        """The namespace of this checkout's cache mounts: two checkouts of one project do not share them."""
        return f"{self.name}-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:10]}"

    @property
    def state(self) -> Path:
        """The state folder, `.kiro/`."""
        return self.root / ".kiro"

    @property
    def measured(self) -> Path:
        """The copy that `test-build-performance` keeps warm."""
        return self.state / "benchmark/tree"
