"""The engine for real: the Docker SDK for images and containers, the CLI for BuildKit and Compose."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import docker
from docker.errors import ImageNotFound
from docker.models.images import Image

from kiro_invoke.engine import client as clients
from kiro_invoke.engine import process
from kiro_invoke.engine.client import TROUBLE, Unanswered, registry_trouble, short
from kiro_invoke.engine.locate import Address, check_versions, refuse_podman, version_text
from kiro_invoke.engine.protocol import Completed, EngineFacts, ImageFacts, Run
from kiro_invoke.model.errors import EngineError

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make EngineError of whatever the SDK raises because the engine is gone or refuses."""

    @functools.wraps(method)
    def translated(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except TROUBLE as error:
            raise EngineError(
                f"the engine refused: {short(error)}", fix="see whether it still runs"
            ) from None

    return translated


class DockerEngine:
    """An engine that answered when it was asked (see protocol.Engine)."""

    def __init__(self, client: docker.DockerClient, address: Address, facts: EngineFacts, run: Run) -> None:
        self._client = client
        self._address = address
        self._facts = facts
        self._run = run

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    @_translated
    def image(self, ref: str) -> ImageFacts | None:
        try:
            image = self._client.images.get(ref)
        except ImageNotFound:
            return None
        return _image_facts(image)

    def probe(self, ref: str, seconds: float) -> None:
        try:
            quick = clients.open_api(self._address, int(seconds) or 1, self._client.api.api_version)
        except Unanswered as silence:
            raise _no_answer(self._address, str(silence)) from None
        try:
            quick.inspect_distribution(ref)  # type: ignore[no-untyped-call]
        except TROUBLE as error:
            raise registry_trouble(error) from None
        finally:
            quick.close()

    def pull(self, ref: str, on_progress: Callable[[str], None]) -> None:
        repository, tag = split_tag(ref)
        layers: set[str] = set()
        done: set[str] = set()
        try:
            for event in self._client.api.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in event:
                    raise registry_trouble(event["error"])
                layer, status = str(event.get("id", "")), str(event.get("status", ""))
                if status == "Pulling fs layer":
                    layers.add(layer)
                elif status in {"Pull complete", "Already exists"} and layer not in done:
                    done.add(layer)
                    on_progress(f"{len(done)} of {len(layers | done)} layers")
        except TROUBLE as error:
            raise registry_trouble(error) from None

    @_translated
    def tag(self, ref: str, alias: str) -> None:
        repository, tag = split_tag(alias)
        self._client.images.get(ref).tag(repository, tag=tag)

    @_translated
    def untag(self, name: str) -> None:
        self._client.images.remove(name, noprune=True)

    @_translated
    def import_root(self, tar: Path, ref: str) -> None:
        repository, tag = split_tag(ref)
        answer = self._client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
        if "errorDetail" in answer:
            raise EngineError(f"cannot import {ref}: {answer}")

    def build_text(self, dockerfile: str, tag: str) -> Completed:
        argv = ["docker", "buildx", "build", "--builder", "default", "--progress=plain", "--provenance=false"]
        return self._run([*argv, "--tag", tag, "-"], stdin=dockerfile)

    @_translated
    def run_once(self, ref: str, shell: str) -> str:
        output = self._client.containers.run(
            ref, ["sh", "-c", shell], entrypoint="", network_mode="none", remove=True, stderr=True
        )
        return bytes(output).decode(errors="replace").strip()

    def bake(self, definition: str, *, env: Mapping[str, str], on_line: Callable[[str], None]) -> Completed:
        argv = ["docker", "buildx", "bake", "--progress=rawjson", "-f", "-"]
        return process.stream(argv, stdin=definition, env=env, on_stderr=on_line)

    @_translated
    def build_cache_bytes(self) -> int:
        records = self._client.df().get("BuildCache") or ()
        return sum(int(record["Size"]) for record in records if not record.get("Shared"))

    def compose(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> int:
        return process.interactive([*_compose_argv(files), *arguments], env=env)

    def compose_output(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> Completed:
        return self._run([*_compose_argv(files), *arguments], env=env)

    @_translated
    def port_holder(self, port: int) -> str | None:
        for container in self._client.containers.list():
            bindings = container.attrs["NetworkSettings"]["Ports"] or {}
            published = {int(b["HostPort"]) for ports in bindings.values() for b in ports or ()}
            if port in published:
                return str(container.name)
        return None


def connect(address: Address, run: Run, *, ours: bool) -> DockerEngine:
    """The engine at `address`; EngineError when none answers or it is too old."""
    try:
        client, server = clients.first_contact(address)
    except Unanswered as silence:
        raise _no_answer(address, str(silence)) from None
    refuse_podman(server)
    buildx = run(["docker", "buildx", "version"], timeout=clients.ANSWER_SECONDS)
    compose = run(["docker", "compose", "version", "--short"], timeout=clients.ANSWER_SECONDS)
    facts = EngineFacts(
        address=address.url,
        version=version_text(str(server["Version"])),
        buildx=version_text(buildx.stdout) if buildx.ok else "",
        compose=version_text(compose.stdout) if compose.ok else "",
        architecture=str(server.get("Arch", "")),
        ours=ours,
    )
    check_versions(facts.version, facts.buildx)
    return DockerEngine(client, address, facts, run)


def answers(address: Address) -> bool:
    """Whether an engine answers at `address` within a few seconds."""
    try:
        client = clients.open_api(address, 5)
    except Unanswered:
        return False
    try:
        return bool(client.ping())
    except TROUBLE:
        return False
    finally:
        client.close()


def _no_answer(address: Address, why: str) -> EngineError:
    remedy = "run `kiro setup` to install one" if address.is_default else f"mend {address.origin}"
    return EngineError(
        f"no Docker engine answers at {address.url} ({address.origin}): {why}", fix=f"start it, or {remedy}"
    )


def split_tag(ref: str) -> tuple[str, str]:
    """Name and tag (or digest) of an image reference: the tag is `latest` where none is given."""
    if "@" in ref:
        name, _, digest = ref.partition("@")
        return name, digest
    head, colon, tag = ref.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (ref, "latest")


def _compose_argv(files: Sequence[Path]) -> list[str]:
    return ["docker", "compose", *(word for file in files for word in ("-f", str(file)))]


def _image_facts(image: Image) -> ImageFacts:
    return ImageFacts(id=str(image.id), labels=dict(image.labels), size=int(image.attrs["Size"]))
