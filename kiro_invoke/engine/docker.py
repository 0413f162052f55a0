"""The engine for real: the Docker SDK for images and containers, the CLI for BuildKit and Compose."""

from __future__ import annotations

import functools
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from kiro_invoke.engine import builders, process
from kiro_invoke.engine.answers import (
    cache_record,
    containers_by_image,
    engine_info,
    image_facts,
    layers_with_sizes,
    local_image,
    names_of,
)
from kiro_invoke.engine.api import (
    ANSWER_SECONDS,
    WORK_SECONDS,
    Api,
    Refused,
    Unanswered,
    UnixApi,
    row,
    rows,
    short,
    unix_path,
)
from kiro_invoke.engine.brake import Brake
from kiro_invoke.engine.cli_files import KnownPlugins, Plugin
from kiro_invoke.engine.containers import Containers
from kiro_invoke.engine.image_files import image_file
from kiro_invoke.engine.locate import Address, check_versions, refuse_podman, version_text
from kiro_invoke.engine.protocol import (
    CacheRecord,
    Completed,
    Engine,
    EngineFacts,
    EngineInfo,
    ImageFacts,
    LocalImage,
    Run,
)
from kiro_invoke.model.errors import EngineError
from kiro_invoke.model.shared import Builder

if TYPE_CHECKING:
    import docker

#: Records that one request names: it must fit into one line of HTTP.
_PRUNED_AT_ONCE = 100

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _translated(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Make EngineError of whatever the SDK raises because the engine is gone or refuses."""

    @functools.wraps(method)
    def translated(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except Exception as error:
            if not _is_engines(error):
                raise
            raise EngineError(
                f"the engine refused: {short(error)}", fix="see whether it still runs"
            ) from None

    return translated


def _is_engines(error: Exception) -> bool:
    """Whether an error is the engine's, not ours."""
    if isinstance(error, Refused | Unanswered):
        return True
    from kiro_invoke.engine.client import TROUBLE

    return isinstance(error, TROUBLE)


class DockerEngine:
    """An engine that answered when it was asked (see protocol.Engine)."""

    def __init__(
        self, api: Api, address: Address, facts: EngineFacts, run: Run, buildx: Plugin | None = None
    ) -> None:
        self._api = api
        self._address = address
        self._facts = facts
        self._run = run
        self._buildx = buildx

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    @functools.cached_property
    def _client(self) -> docker.DockerClient:
        """The SDK's client, loaded by the first call that needs it."""
        from kiro_invoke.engine import client

        if isinstance(self._api, client.SdkApi):
            return self._api.client
        return client.work_client(self._address, self._api.version)

    @functools.cached_property
    def compose_version(self) -> str:
        compose = self._run(["docker", "compose", "version", "--short"], timeout=ANSWER_SECONDS)
        return version_text(compose.stdout) if compose.ok else ""

    @_translated
    def image(self, ref: str) -> ImageFacts | None:
        try:
            return image_facts(row(self._api.ask("GET", f"/images/{ref}/json")))
        except Refused as answer:
            if answer.status == 404:
                return None
            raise

    @_translated
    def image_file(self, ref: str, path: str, until: bytes = b"") -> bytes | None:
        return image_file(self._api, ref, path, until)

    def probe(self, ref: str, seconds: float) -> str:
        from kiro_invoke.engine import client

        try:
            quick = client.open_api(self._address, int(seconds) or 1, self._api.version)
        except Unanswered as silence:
            raise _no_answer(self._address, str(silence)) from None
        try:
            answer = quick.inspect_distribution(ref)  # type: ignore[no-untyped-call]
            return str(row(row(answer).get("Descriptor") or {}).get("digest", ""))
        except client.TROUBLE as error:
            raise client.registry_trouble(error) from None
        finally:
            quick.close()

    def pull(self, ref: str, on_progress: Callable[[str], None]) -> None:
        from kiro_invoke.engine.client import TROUBLE, registry_trouble

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
        except (*TROUBLE, Unanswered) as error:
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
        with tempfile.TemporaryDirectory(
            prefix="kiro-build-"
        ) as folder:  # the client leaves a copy of what it is given
            return self._run([*argv, "--tag", tag, "-"], stdin=dockerfile, env={"TMPDIR": folder})

    @_translated
    def run_once(self, ref: str, shell: str) -> str:
        output = self._client.containers.run(
            ref, ["sh", "-c", shell], entrypoint="", network_mode="none", remove=True, stderr=True
        )
        return bytes(output).decode(errors="replace").strip()

    def bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: Brake | None = None,
    ) -> Completed:
        return self._bake(definition, env=env, on_line=on_line, brake=brake)

    def _bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: Brake | None,
        builder: str = "",
    ) -> Completed:
        by = ["--builder", builder] if builder else []
        argv = [*self._buildx_argv(), "bake", *by, "--progress=rawjson", "-f", "-"]
        return process.stream(argv, stdin=definition, env=env, on_stderr=on_line, brake=brake)

    def builder_trouble(self, name: str, seconds: float) -> str:
        return builders.trouble(self._run, self._buildx_argv(), name, seconds)

    def labels_at_registry(self, ref: str, seconds: float) -> Mapping[str, str]:
        return builders.labels_at(self._run, self._buildx_argv(), ref, self.facts.builder, seconds)

    def make_builder(self, builder: Builder) -> bool:
        return builders.make(self._run, self._buildx_argv(), builder)

    def on_builder(self, name: str, patience: float, kept: Path) -> Engine:
        from kiro_invoke.engine.far import FarEngine

        return FarEngine(self, name, patience, kept)

    @_translated
    def load(self, archive: Iterator[bytes]) -> None:
        """Take images from an archive, a piece at a time; EngineError with the engine's words if it refuses."""
        events = self._client.api.load_image(archive, quiet=True)  # type: ignore[no-untyped-call]
        for event in events:
            if "errorDetail" in event:
                raise EngineError(f"the engine takes no image: {event['errorDetail'].get('message', '')}")

    def build_history(self, *arguments: str, seconds: float) -> Completed:
        return self._run([*self._buildx_argv(), "history", *arguments], timeout=seconds)

    def _buildx_argv(self) -> list[str]:
        """How buildx is started. On a unix socket it needs nothing that the CLI would tell it: that saves 50 ms."""
        if self._buildx and self._buildx.file and unix_path(self._address.url):
            return [self._buildx.file]
        return ["docker", "buildx"]

    @_translated
    def cache_records(self) -> tuple[CacheRecord, ...]:
        # of this type alone: adding up images, containers and volumes can take minutes
        answer = row(self._api.ask("GET", "/system/df", {"type": "build-cache"}))
        return tuple(map(cache_record, rows(answer.get("BuildCache"))))

    @_translated
    def prune(self, ids: Sequence[str]) -> frozenset[str]:
        gone: set[str] = set()
        for begin in range(0, len(ids), _PRUNED_AT_ONCE):
            some = ids[begin : begin + _PRUNED_AT_ONCE]
            # a regular expression; without `all`, the engine itself spares what images hold
            filters = json.dumps({"id": [f"^({'|'.join(map(re.escape, some))})$"]})
            answer = row(self._api.ask("POST", "/build/prune", {"filters": filters}))
            gone.update(map(str, answer.get("CachesDeleted") or ()))
        return frozenset(gone)

    @_translated
    def images_labelled(self, label: str) -> tuple[LocalImage, ...]:
        query = {"filters": json.dumps({"label": [label]})} if label else {}
        found = rows(self._api.ask("GET", "/images/json", query))
        used = containers_by_image(rows(self._api.ask("GET", "/containers/json", {"all": "true"})))
        return tuple(local_image(image, used) for image in found)

    @_translated
    def info(self) -> EngineInfo:
        asked = time.time()
        answer = row(self._api.ask("GET", "/info"))
        return engine_info(answer, asked, time.time(), is_here=unix_path(self._address.url) is not None)

    def builder(self) -> str:
        named = [self.facts.builder] if self.facts.builder else []
        shown = self._run([*self._buildx_argv(), "inspect", *named], timeout=ANSWER_SECONDS)
        return shown.stdout if shown.ok else ""

    @_translated
    def image_layers(self, id: str) -> tuple[tuple[str, int], ...]:
        facts = self.image(id)
        if facts is None:
            return ()
        return layers_with_sizes(facts, rows(self._api.ask("GET", f"/images/{id}/history")))

    @_translated
    def images_bytes(self) -> int:
        answer = row(self._api.ask("GET", "/system/df", {"type": "image"}))
        return int(answer.get("LayersSize") or 0)

    @_translated
    def remove_image(self, id: str) -> bool:
        try:
            # by its id, an engine would remove an image together with a name that it was given meanwhile
            if names_of(row(self._api.ask("GET", f"/images/{id}/json"))):
                return False
            self._api.ask("DELETE", f"/images/{id}", {"noprune": "true"})
        except Refused as answer:
            if answer.status in {404, 409}:
                return False
            raise
        return True

    def compose(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> int:
        return process.interactive([*_compose_argv(files), *arguments], env=env)

    def compose_output(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> Completed:
        return self._run([*_compose_argv(files), *arguments], env=env)

    @functools.cached_property
    def containers(self) -> Containers:
        from kiro_invoke.engine.client import open_api
        from kiro_invoke.engine.docker_containers import DockerContainers

        return DockerContainers(self._api, lambda: open_api(self._address, WORK_SECONDS, self._api.version))

    @_translated
    def port_holder(self, port: int) -> str | None:
        for container in self._client.containers.list():
            bindings = container.attrs["NetworkSettings"]["Ports"] or {}
            published = {int(b["HostPort"]) for ports in bindings.values() for b in ports or ()}
            if port in published:
                return str(container.name)
        return None


def connect(address: Address, run: Run, *, ours: bool, known: KnownPlugins | None = None) -> DockerEngine:
    """The engine at `address`; EngineError when none answers or it is too old.

    `known` saves asking the CLI about buildx while its files stay as they are.
    """
    try:
        api, server = _first_contact(address)
    except Unanswered as silence:
        raise _no_answer(address, str(silence)) from None
    refuse_podman(server)
    buildx = known.plugin("buildx", lambda: _found_buildx(run)) if known else _asked_buildx(run)
    facts = EngineFacts(
        address=address.url,
        version=version_text(str(server.get("Version", ""))),
        buildx=buildx.version,
        architecture=str(server.get("Arch", "")),
        ours=ours,
    )
    check_versions(facts.version, facts.buildx)
    return DockerEngine(api, address, facts, run, buildx)


def _asked_buildx(run: Run) -> Plugin:
    shown = run(["docker", "buildx", "version"], timeout=ANSWER_SECONDS)
    return Plugin(version_text(shown.stdout) if shown.ok else "")


def _found_buildx(run: Run) -> Plugin:
    """The buildx that the CLI starts, and its file."""
    shown = run(["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"], timeout=ANSWER_SECONDS)
    with suppress(ValueError, Unanswered):
        for plugin in rows(json.loads(shown.stdout)):
            if plugin.get("Name") == "buildx" and not plugin.get("Err") and plugin.get("Path"):
                return Plugin(version_text(str(plugin.get("Version"))), str(plugin["Path"]))
    return _asked_buildx(run)


def answers(address: Address) -> bool:
    """Whether an engine answers at `address` within a few seconds."""
    if path := unix_path(address.url):
        try:
            UnixApi(path, 5).ask("GET", "/version")
        except (Refused, Unanswered):
            return False
        return True
    from kiro_invoke.engine import client

    return client.pings(address, 5)


def _first_contact(address: Address) -> tuple[Api, Mapping[str, Any]]:
    """The way to speak with an engine, and what it says of itself; Unanswered if it does not in time."""
    path = unix_path(address.url)
    if path is None:
        from kiro_invoke.engine import client

        return client.first_contact(address)
    api = UnixApi(path, ANSWER_SECONDS)
    try:
        server = row(api.ask("GET", "/version"))
    except Refused as answer:
        raise Unanswered(str(answer)) from None
    return api.speaking(server), server


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
