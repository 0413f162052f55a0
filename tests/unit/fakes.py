"""Stand-ins for the outside world: a Run that is scripted, and an Engine that lives in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kiro_invoke.engine.protocol import (
    CacheRecord,
    Completed,
    EngineFacts,
    EngineInfo,
    ImageFacts,
    LocalImage,
    RegistryRefused,
    RegistrySilent,
)
from kiro_invoke.model.shared import Builder


@dataclass(frozen=True)
class Call:
    """One command that a FakeRun was asked to run."""

    argv: tuple[str, ...]
    stdin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None


@dataclass(frozen=True)
class Script:
    """How a command ends, and what happens when it runs."""

    returncode: int
    stdout: str
    stderr: str
    do: Callable[[tuple[str, ...]], None] | None


class FakeRun:
    """A Run that answers by the longest argv prefix it was told, and records every call.

    A command that nobody told it about ends with `otherwise` (0 unless told).
    """

    def __init__(self, *, otherwise: int = 0) -> None:
        self.calls: list[Call] = []
        self._otherwise = otherwise
        self._scripts: dict[tuple[str, ...], Script] = {}

    def on(
        self,
        *prefix: str,
        out: str = "",
        err: str = "",
        code: int = 0,
        do: Callable[[tuple[str, ...]], None] | None = None,
    ) -> FakeRun:
        """From now on, a command that begins with `prefix` does and ends like this."""
        self._scripts[prefix] = Script(code, out, err, do)
        return self

    def __call__(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Completed:
        words = tuple(argv)
        self.calls.append(Call(words, stdin, dict(env or {}), timeout))
        for length in range(len(words), -1, -1):
            if script := self._scripts.get(words[:length]):
                if script.do:
                    script.do(words)
                return Completed(words, script.returncode, script.stdout, script.stderr)
        return Completed(words, self._otherwise, "", "")

    @property
    def argvs(self) -> list[tuple[str, ...]]:
        return [call.argv for call in self.calls]


FACTS = EngineFacts(
    address="unix:///var/run/docker.sock",
    version="26.1.5",
    buildx="0.13.1",
    architecture="amd64",
    ours=True,
)
SILENT = RegistrySilent("no route to host")
REFUSED = RegistryRefused("manifest unknown")


class FakeEngine:
    """An Engine in memory.

    `images` are those that are here. `registry` tells what asking for a ref brings: an image, or the
    trouble that is raised; refs that it does not name meet `otherwise`.
    """

    def __init__(
        self,
        images: Mapping[str, ImageFacts] | None = None,
        registry: Mapping[str, ImageFacts | Exception] | None = None,
        *,
        otherwise: Exception = SILENT,
        ours: bool = True,
    ) -> None:
        self.images = dict(images or {})
        self.files: dict[tuple[str, str], bytes] = {}
        self.registry = dict(registry or {})
        self.otherwise = otherwise
        self.probed: list[str] = []
        self.pulled: list[str] = []
        self.built: list[tuple[str, str]] = []
        self.untagged: list[str] = []
        self.imported: list[str] = []
        self.baked: list[str] = []
        self.bake_env: list[Mapping[str, str]] = []
        self.bake_lines: Sequence[str] = ()
        self.bake_status = 0
        self.build_status = 0
        self.build_output = ""
        self.printed = "Rust 1.85.0"
        self.composed: list[tuple[str, ...]] = []
        self.compose_answers: dict[str, Completed] = {}
        self.compose_status = 0
        self.ports: dict[int, str] = {}
        #: What `history ls`, `history inspect REF` and `history logs REF` answer.
        self.history: dict[str, Completed] = {}
        self.history_asked: list[tuple[str, ...]] = []
        self.records: Sequence[CacheRecord] = ()
        self.local_images: Sequence[LocalImage] = ()
        self.told = EngineInfo(root="/var/lib/docker", storage="overlay2")
        self.builder_told = ""
        #: Builders that are there, with why each does not answer ("": it does); and what they make an engine of.
        self.builders: dict[str, str] = {}
        self.far: FakeEngine | None = None
        self.at_registry: dict[str, Mapping[str, str]] = {}
        self.layers: dict[str, Sequence[tuple[str, int]]] = {}
        self._facts = replace(FACTS, ours=ours)
        self._lock = threading.Lock()
        #: Called within every pull, for tests that want to see several at once.
        self.while_pulling: Callable[[str], None] = lambda _ref: None

    @property
    def facts(self) -> EngineFacts:
        return self._facts

    @property
    def compose_version(self) -> str:
        return "2.26.1"

    def image(self, ref: str) -> ImageFacts | None:
        return self.images.get(ref)

    def image_file(self, ref: str, path: str, until: bytes = b"") -> bytes | None:
        content = self.files.get((ref, path))
        return b"".join(content.partition(until)[:2]) if content and until else content

    def probe(self, ref: str, seconds: float) -> str:
        with self._lock:
            self.probed.append(ref)
        return self._ask(ref).id

    def pull(self, ref: str, on_progress: Callable[[str], None]) -> None:
        with self._lock:
            self.pulled.append(ref)
        found = self._ask(ref)
        self.while_pulling(ref)
        on_progress("1 of 1 layers")
        self.images[ref] = found

    def _ask(self, ref: str) -> ImageFacts:
        found = self.registry.get(ref, self.otherwise)
        if isinstance(found, Exception):
            raise found
        return found

    def tag(self, ref: str, alias: str) -> None:
        self.images[alias] = self.images[ref]

    def untag(self, name: str) -> None:
        del self.images[name]
        self.untagged.append(name)

    def import_root(self, tar: Path, ref: str) -> None:
        self.imported.append(ref)
        self.images[ref] = ImageFacts("sha256:root", {}, 1)

    def build_text(self, dockerfile: str, tag: str) -> Completed:
        with self._lock:
            self.built.append((tag, dockerfile))
        if self.build_status == 0:
            self.images[tag] = ImageFacts(f"sha256:{tag}", {}, 1)
        return Completed(("docker", "buildx", "build"), self.build_status, "", self.build_output)

    def run_once(self, ref: str, shell: str) -> str:
        return self.printed

    def builder_trouble(self, name: str, seconds: float) -> str:
        del seconds
        return self.builders.get(name, f'no builder "{name}" found')

    def labels_at_registry(self, ref: str, seconds: float) -> Mapping[str, str]:
        del seconds
        return self.at_registry.get(ref, {})

    def make_builder(self, builder: Builder) -> bool:
        return self.builders.setdefault(builder.name, "") != ""

    def on_builder(self, name: str, patience: float, kept: Path) -> FakeEngine:
        del name, patience
        assert self.far is not None
        return self.far

    def bake(
        self,
        definition: str,
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None],
        brake: object = None,
    ) -> Completed:
        self.baked.append(definition)
        self.bake_env.append(dict(env))
        for line in self.bake_lines:
            on_line(line)
        if self.bake_status == 0:
            for target in json.loads(definition)["target"].values():
                for tag in target.get("tags", ()):
                    self.images[tag] = ImageFacts(f"sha256:{tag}", target["labels"], 1)
        return Completed(("docker", "buildx", "bake"), self.bake_status, "", "")

    def build_history(self, *arguments: str, seconds: float) -> Completed:
        self.history_asked.append(arguments)
        found = self.history.get(arguments[0] if arguments[0] == "ls" else f"{arguments[0]} {arguments[-1]}")
        return found or Completed(arguments, 125, "", 'ERROR: "docker buildx" has no history')

    def cache_records(self) -> tuple[CacheRecord, ...]:
        return tuple(self.records)

    def prune(self, ids: Sequence[str]) -> frozenset[str]:
        """As the engine does it: leaf upward, and nothing that is in use or part of an image."""
        gone: set[str] = set()
        while loose := self._loose(ids):
            gone |= loose
            self.records = [record for record in self.records if record.id not in loose]
        return frozenset(gone)

    def _loose(self, ids: Sequence[str]) -> set[str]:
        holding = {parent for record in self.records for parent in record.parents}
        kept = (holding, {record.id for record in self.records if record.in_use or record.shared})
        return {record.id for record in self.records} & {*ids} - kept[0] - kept[1]

    def images_labelled(self, label: str) -> tuple[LocalImage, ...]:
        name, equals, value = label.partition("=")
        return tuple(
            image
            for image in self.local_images
            if not name or (image.labels.get(name) == value if equals else name in image.labels)
        )

    def info(self) -> EngineInfo:
        return self.told

    def builder(self) -> str:
        return self.builder_told

    def image_layers(self, id: str) -> tuple[tuple[str, int], ...]:
        return tuple(self.layers.get(id, ()))

    def images_bytes(self) -> int:
        return sum(image.size for image in self.local_images)

    def remove_image(self, id: str) -> bool:
        found = [image for image in self.local_images if image.id == id and not image.in_use]
        self.local_images = [image for image in self.local_images if image not in found]
        return bool(found)

    def compose(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> int:
        self.composed.append(arguments)
        return self.compose_status

    def compose_output(self, files: Sequence[Path], *arguments: str, env: Mapping[str, str]) -> Completed:
        self.composed.append(arguments)
        return self.compose_answers.get(arguments[0], Completed(arguments, self.compose_status, "", ""))

    def port_holder(self, port: int) -> str | None:
        return self.ports.get(port)
