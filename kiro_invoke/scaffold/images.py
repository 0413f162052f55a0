"""What a service's Dockerfiles are made of: values that the templates take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

RUST_IMAGE = "rust:1.95-slim-trixie"
DEBIAN_IMAGE = "debian:13-slim"
NODE_IMAGE = "node:24-trixie-slim"
NGINX_IMAGE = "nginx:1.28-trixie"
#: What a development container of Rust has besides.
TOOLS = ("curl", "gdb", "gdbserver", "git", "less", "procps", "strace")


@dataclass(frozen=True)
class RustImages:
    """A program of a Cargo package. `mounts` begins the ids of its cache mounts.

    `port` 0: none is known; `health`: the argument with which the program examines itself ("": none); `data`: the
    folder that its data lies in ("": none). `toolchain`: what rustup is to take, where a rust-toolchain file says so
    ("": none does); `toolchain_adds`: rustup's commands for what it wants besides; `channel`: what that file, where
    it is in the context, has to say still.
    """

    mounts: str
    package: str
    binary: str
    rust_image: str = RUST_IMAGE
    debian_image: str = DEBIAN_IMAGE
    system_packages: tuple[str, ...] = ()
    runtime_packages: tuple[str, ...] = ()
    tools: tuple[str, ...] = TOOLS
    env: tuple[str, ...] = ()
    port: int = 0
    health: str = ""
    data: str = ""
    toolchain: str = ""
    toolchain_adds: tuple[str, ...] = ()
    channel: str = ""
    cargo_credentials: bool = False
    explained: bool = False

    @property
    def values(self) -> Mapping[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class PageImages:
    """A page that Vite builds, installed by npm. `out`: the folder that it is built into."""

    mounts: str
    node_image: str = NODE_IMAGE
    nginx_image: str = NGINX_IMAGE
    out: str = "dist"
    vite_options: str = " --host 127.0.0.1 --port 5173 --strictPort"
    npmrc: bool = False
    typecheck: bool = False
    explained: bool = False
    folder: str = ""
    vite: str = "node_modules/.bin/vite"

    @property
    def values(self) -> Mapping[str, object]:
        return asdict(self)


@dataclass(frozen=True)
class NodeImages:
    """Any other program or page of Node, installed from nothing whenever what its install depends on changed.

    `page`: the folder, from the context, that a production build makes ("": it is a program). `vite`: the command of
    Vite that serves in development ("": the program itself does, by `start`). Commands run in the context. `inputs`:
    what find takes for files that an install depends on.
    """

    mounts: str
    inputs: tuple[str, ...]
    install: str
    store: str
    store_id: str
    live_install: str
    folder: str = ""
    node_image: str = NODE_IMAGE
    nginx_image: str = NGINX_IMAGE
    manager_install: str = ""
    env: tuple[str, ...] = ()
    build: str = ""
    needed_build: str = ""
    start: tuple[str, ...] = ()
    page: str = ""
    vite: str = ""
    out: str = "dist"
    vite_options: str = " --host 127.0.0.1 --port 5173 --strictPort"
    port: int = 0
    npmrc: bool = False
    token_variables: tuple[str, ...] = ()

    @property
    def values(self) -> Mapping[str, object]:
        return asdict(self)


#: This repository's own services, whose Dockerfiles are made of the same templates.
BACKEND = RustImages(
    "kiro-backend",
    "kiro-backend",
    "kiro-backend",
    tools=(*TOOLS[:-1], "sqlite3", TOOLS[-1]),
    env=("BACKEND_ADDR=0.0.0.0:8080", "DATABASE_PATH=/data/notes.db"),
    port=8080,
    health="healthcheck",
    data="/data",
    explained=True,
)
FRONTEND = PageImages("kiro-frontend", vite_options="", typecheck=True, explained=True)
