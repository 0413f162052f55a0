"""A checkout with two services on an engine in memory that holds what its builds left, for the commands about it."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
from rich.console import Console

from kiro_invoke.builds.bake import LABEL_CHECKOUT, LABEL_PROJECT, LABEL_SERVICE
from kiro_invoke.cache.proving import PROVEN
from kiro_invoke.cache.records import LAYER, MOUNT
from kiro_invoke.cache.remembered import LAYERS, Made, read_made, write_made
from kiro_invoke.commands.surface import Answer, Surface
from kiro_invoke.engine.protocol import CacheRecord, ImageFacts, LocalImage
from kiro_invoke.model.service import Project
from kiro_invoke.screen import Paper
from tests.unit.fakes import FACTS, FakeEngine

SCHEMAS = Path(__file__).parents[2] / "kiro_invoke" / "schemas"
_APP = """\
FROM debian:13-slim AS base
RUN install
FROM base AS cook
RUN --mount=type=cache,id=app-deps,target=/deps cook
FROM cook AS dev
COPY . .
RUN --mount=type=cache,id=app-target,target=/app/target,from=cook,source=/app/target build
"""
_WEB = """\
FROM debian:13-slim AS base
RUN install
RUN --mount=type=cache,target=/root/.npm npm ci
COPY . .
"""


class Engine(FakeEngine):
    """One that takes names away from images, as a real one does."""

    def untag(self, name: str) -> None:
        super().untag(name)
        self.local_images = [
            replace(one, names=tuple(n for n in one.names if n != name)) for one in self.local_images
        ]

    def remove_image(self, id: str) -> bool:
        return not any(one.id == id and one.names for one in self.local_images) and super().remove_image(id)


class World:
    """The checkout, its engine, and what was said. `answer` is what a person says; None: there is nobody."""

    def __init__(self, root: Path) -> None:
        self.root, self.engine = root, Engine()
        self.answer: str | None = None
        self.asked: list[str] = []
        self._out, self._err = io.StringIO(), io.StringIO()
        for service, text in (("app", _APP), ("web", _WEB)):
            self.write(f"{service}/Dockerfile.fast", text)
        self.write("kiro.yaml", "project: shop\nservices:\n  - name: app\n  - name: web\n")
        self.project = Project(root, "shop", ())
        self.own = self.project.checkout
        self.state = self.project.state
        self.state.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def layer(
        self, id: str, parent: str, text: str, size: int, *, at: float = 0, shared: bool = False
    ) -> CacheRecord:
        said = f"[stage 1/1] {text}" if text.startswith("COPY") else f"mount / from exec /bin/sh -c {text}"
        return CacheRecord(id, LAYER, said, (parent,) if parent else (), False, shared, size, at, at)

    def mount(
        self, id: str, parent: str, name: str, size: int, *, at: float = 0, namespace: str | None = None
    ) -> CacheRecord:
        whose = self.own if namespace is None else namespace
        said = f'cached mount /x from exec /bin/sh -c x with id "{whose}/{name}"'
        return CacheRecord(id, MOUNT, said, (parent,) if parent else (), size=size, created=at)

    def built(self, *, at: float = 0) -> tuple[CacheRecord, ...]:
        """What a build of both services leaves."""
        return (
            self.layer("install", "", "install", 100_000_000, at=at),
            self.mount("deps", "install", "app-deps", 50_000_000, at=at),
            self.layer("cook", "install", "cook", 30_000_000, at=at),
            self.mount("target", "cook", "app-target", 40_000_000, at=at),
            self.layer("source", "cook", "COPY . .", 1_000_000, at=at),
            self.layer("build", "source", "build", 10_000_000, at=at),
            self.layer("ci", "install", "npm ci", 60_000_000, at=at),
            self.mount("npm", "install", "/root/.npm", 70_000_000, at=at),
        )

    def holds(self, records: Iterable[CacheRecord], *images: LocalImage) -> None:
        """Have the engine hold these, and the checkout remember that its builds made the layers and images."""
        self.engine.records = tuple(records)
        self.engine.local_images = images
        for one in images:
            for name in (*one.names, one.id):
                self.engine.images[name] = ImageFacts(one.id, one.labels, one.size)
        layers = frozenset(record.id for record in self.engine.records if record.kind == LAYER)
        write_made(self.state / LAYERS, Made(layers, engine=FACTS.address, gathered=5))
        ids = [one.id for one in images if one.labels.get(LABEL_CHECKOUT) == self.own]
        (self.state / PROVEN).write_text(json.dumps({"images": {}, "ids": ids}))

    def image(self, id: str, *names: str, service: str = "app", **more: Any) -> LocalImage:
        labels = {LABEL_PROJECT: "shop", LABEL_CHECKOUT: self.own, LABEL_SERVICE: service}
        return LocalImage(f"sha256:{id}", names, labels, created=1.0, **more)

    @property
    def remembered(self) -> Made:
        return read_made(self.state / LAYERS)

    @property
    def left(self) -> set[str]:
        return {record.id for record in self.engine.records} | {one.id for one in self.engine.local_images}

    @property
    def surface(self) -> Surface:
        def paper(stream: io.StringIO) -> Paper:
            plain = Console(file=stream, width=500, color_system=None, highlight=False, markup=False)
            return Paper(lambda: plain)

        def ask(question: str) -> bool:
            self.asked.append(question)
            return self.answer == "yes"

        person = None if self.answer is None else ask
        return Surface(paper(self._out), paper(self._err), {}, self.root, person)

    def shown(self, answer: Answer) -> list[str]:
        answer.show(self.surface)
        return self._out.getvalue().splitlines()

    @property
    def said(self) -> str:
        return self._err.getvalue()


def whole(name: str, answer: Answer) -> dict[str, Any]:
    """The object that `--format json` would print; it fits its schema."""
    value = {"schema": 1, "command": name, "ok": answer.ok, **json.loads(json.dumps(answer.fields))}
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(value)
    return value
