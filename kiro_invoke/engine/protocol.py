"""The one door to Docker, as the rest of the tool sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from kiro_invoke.engine.brake import Brake
from kiro_invoke.model.shared import Builder


@dataclass(frozen=True)
class Completed:
    """A finished process: its argument list, exit status (negative: signal) and captured text."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class Run(Protocol):
    """Runs one command to its end and captures what it prints."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed: ...


@dataclass(frozen=True)
class EngineFacts:
    """What answers, and with which versions. `ours` is true for an engine that `kiro setup` installed."""

    address: str
    version: str
    buildx: str
    architecture: str
    ours: bool
    #: The builder of buildx's that bakes for it; "": its own.
    builder: str = ""


@dataclass(frozen=True)
class EngineInfo:
    """What an engine tells of itself and its machine. `root` is its data folder, `storage` its storage driver,
    `is_containerd` whether its images are in containerd's store.

    `clock` is its time (epoch) when it answered, `asked` ours just before we asked and `answered` just after. `is_here`
    tells whether its machine is this one, so that `root` is a folder here.
    """

    root: str = ""
    storage: str = ""
    clock: float = 0.0
    asked: float = 0.0
    answered: float = 0.0
    is_here: bool = False
    proxies: Mapping[str, str] = field(default_factory=dict)
    is_containerd: bool = False


@dataclass(frozen=True)
class ImageFacts:
    """A local image: content id, labels, size in bytes, the content ids of its layers from the bottom up.

    `digests` are what registries know it by, `NAME@sha256:...`.
    """

    id: str
    labels: Mapping[str, str]
    size: int
    layers: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheRecord:
    """A record of the engine's build cache, a layer or a cache mount, as `docker buildx du --verbose` shows it.

    `kind` is "regular" for a layer, "exec.cachemount" for a mount. `shared`: an image holds it too. `size` is in
    bytes without its parents; `created` and `used` (0.0: never) are seconds since the epoch.
    """

    id: str
    kind: str
    description: str
    parents: tuple[str, ...] = ()
    in_use: bool = False
    shared: bool = False
    size: int = 0
    created: float = 0.0
    used: float = 0.0


@dataclass(frozen=True)
class LocalImage:
    """An image among many: its content id, its names, labels, and when it was made (seconds since the epoch).

    `in_use`: a container, running or not, stands on it; `containers` are the names of those. `size` is in bytes, with
    layers that other images have too.
    """

    id: str
    names: tuple[str, ...]
    labels: Mapping[str, str]
    created: float
    in_use: bool = False
    containers: tuple[str, ...] = ()
    size: int = 0


class RegistrySilent(Exception):
    """No registry answers for an image: no route, no name, no connection, no trust."""


class RegistryRefused(Exception):
    """A registry answered: it has no such image, or does not give it to us."""


class Engine(Protocol):
    """What commands ask of Docker. Long calls may be interrupted and then leave no process behind."""

    @property
    def facts(self) -> EngineFacts: ...

    @property
    def compose_version(self) -> str:
        """The version of the Compose plugin; "" where there is none."""

    def image(self, ref: str) -> ImageFacts | None:
        """The local image of that name, or None."""

    def image_file(self, ref: str, path: str, until: bytes = b"") -> bytes | None:
        """The content of a regular file in a local image; None where there is none.

        Where it holds `until`, what comes after that may be missing: it need not be read.
        """

    def probe(self, ref: str, seconds: float) -> str:
        """The digest that the registry of `ref` has under this name; RegistrySilent or RegistryRefused if none.

        Of an image for several platforms it is that of their list.
        """

    def pull(self, ref: str, on_progress: Callable[[str], None]) -> None:
        """Pull `ref`; RegistrySilent or RegistryRefused if that fails."""

    def tag(self, ref: str, alias: str) -> None:
        """Give the local image `ref` another name."""

    def untag(self, name: str) -> None:
        """Take a name away from a local image; its content stays while anything else uses it."""

    def import_root(self, tar: Path, ref: str) -> None:
        """Make an image from a root file system's tar file."""

    def build_text(self, dockerfile: str, tag: str) -> Completed:
        """Build a Dockerfile that needs no context, with the engine's own builder."""

    def run_once(self, ref: str, shell: str) -> str:
        """What a shell command prints in a throw-away container without network."""

    def bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: Brake | None = None,
    ) -> Completed:
        """Build a bake definition (JSON); `on_line` gets each line of `--progress=rawjson`. The brake ends it."""

    def builder_trouble(self, name: str, seconds: float) -> str:
        """Why a builder of buildx's cannot be built with, asked for so long; "" where it answers."""

    def labels_at_registry(self, ref: str, seconds: float) -> Mapping[str, str]:
        """The labels that an image has in its registry; none where it does not answer for so long."""

    def make_builder(self, builder: Builder) -> bool:
        """Make a builder, unless one of its name is there already: whether it was made. EngineError if that fails."""

    def on_builder(self, name: str, patience: float, kept: Path) -> Engine:
        """This engine, with builds made by a builder, whose images end here. `patience`: see Builder."""

    def build_history(self, *arguments: str, seconds: float) -> Completed:
        """Run `docker buildx history`, for so long; it fails where buildx has no such command."""

    def cache_records(self) -> tuple[CacheRecord, ...]:
        """Every record of the build cache."""

    def prune(self, ids: Sequence[str]) -> frozenset[str]:
        """Remove these records of the build cache and no others; those that are gone then.

        One that is in use, is part of an image, or has records on it that stay, stays.
        """

    def info(self) -> EngineInfo:
        """What the engine tells of itself."""

    def builder(self) -> str:
        """What `docker buildx inspect` tells of the builder in use; "" where it fails."""

    def image_layers(self, id: str) -> tuple[tuple[str, int], ...]:
        """An image's layers from the bottom up: content id, bytes. Empty where the image is gone."""

    def images_bytes(self) -> int:
        """What all images hold together, each layer once."""

    def images_labelled(self, label: str) -> tuple[LocalImage, ...]:
        """The images that carry `label`, a text `name` or `name=value`, those without a name included.

        All images for "".
        """

    def remove_image(self, id: str) -> bool:
        """Remove an image; False if it has a name or something uses it and it stays, or it is gone already."""

    def compose(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> int:
        """Run Docker Compose on this terminal; its exit status."""

    def compose_output(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> Completed:
        """Run Docker Compose and capture what it prints."""

    def port_holder(self, port: int) -> str | None:
        """The running container that publishes `port` on this host, or None."""
