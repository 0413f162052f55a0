"""Which service and which cache mount a record of the engine's cache belongs to, by what Dockerfiles say. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.builds.dockerfile import Dockerfile, Instruction, expand
from kiro_invoke.builds.planner import Recipe
from kiro_invoke.cache.made import joined
from kiro_invoke.cache.records import instruction, mount_id
from kiro_invoke.engine.protocol import CacheRecord

_EXECUTED = "mount / from exec "
_SHELL = " -c "
_FLAGS = re.compile(r"(?:--\S+\s+)*")
_VARIABLE = re.compile(r"\$\{?(\w+)")
_PATH = re.compile(r"^cached mount (\S+) from ")
_COPYING = frozenset({"COPY", "ADD", "WORKDIR"})


class Kind(StrEnum):
    """What a thing in the cache is for."""

    REGISTRY = "registry"
    NPM = "npm"
    TARGET = "target"
    DEPENDENCIES = "dependencies"
    OTHER = "other mounts"
    LAYER = "layers"
    IMAGE = "images"
    STANDIN = "stand-ins"

    def counted(self, count: int) -> str:
        """So many of them, in words."""
        if self in (Kind.LAYER, Kind.IMAGE, Kind.STANDIN):
            return f"{count} {self if count != 1 else str(self).removesuffix('s')}"
        return f"{count} {str(self).removesuffix(' mounts')} mount{'s' if count != 1 else ''}"


#: What a mount holds, by its id or by where it lies, the first that fits.
_HOLDS = (
    (Kind.NPM, re.compile(r"\.npm$|(?:^|[-_/])npm$|pnpm|\.yarn|(?:^|[-_/])yarn")),
    (Kind.REGISTRY, re.compile(r"(?:^|[-_/])registry(?:$|[-/])|cargo/git")),
    (Kind.DEPENDENCIES, re.compile(r"(?:^|[-_/])(?:deps|cooked|modules)$|node_modules$")),
    (Kind.TARGET, re.compile(r"(?:^|[-_/])target$")),
)


def mount_kind(id: str, path: str) -> Kind:
    """What a cache mount with this id, mounted at this path, holds."""
    for kind, pattern in _HOLDS:
        if pattern.search(id):
            return kind
    # a tool's own target is no target of ours: what it is named after comes first
    return next((kind for kind, pattern in _HOLDS if not id.strip("/") and pattern.search(path)), Kind.OTHER)


def mount_path(record: CacheRecord) -> str:
    """Where a mount was mounted."""
    match = _PATH.match(record.description)
    return match[1] if match else ""


@dataclass(frozen=True)
class Places:
    """What Dockerfiles say: mount id -> services, instruction -> services and the ids of the mounts it has.

    `beginnings` are the instructions that only the engine can fill in, as far as their first variable.
    """

    mounts: Mapping[str, frozenset[str]]
    instructions: Mapping[str, frozenset[str]]
    mounted: Mapping[str, frozenset[str]]
    beginnings: tuple[str, ...] = ()

    def services_of(self, record: CacheRecord) -> frozenset[str]:
        """The services whose Dockerfiles have the layer's instruction, or the mount's id."""
        known = mount_id(record.description)
        if known is not None:
            return self.mounts.get(known[1], frozenset())
        return self.instructions.get(self._key(record), frozenset())

    def mounts_of(self, record: CacheRecord) -> frozenset[str]:
        """The ids of the mounts that the step had that made a layer."""
        return self.mounted.get(self._key(record), frozenset())

    @staticmethod
    def told(record: CacheRecord) -> str:
        """A layer's instruction as `written_texts` has it."""
        return _told(record)

    def _key(self, record: CacheRecord) -> str:
        text = _told(record)
        if text in self.instructions:
            return text
        return next((begins for begins in self.beginnings if text.startswith(begins)), "")


def places(recipes: Iterable[Recipe]) -> Places:
    """What the Dockerfiles of these recipes say."""
    mounts: defaultdict[str, set[str]] = defaultdict(set)
    instructions: defaultdict[str, set[str]] = defaultdict(set)
    mounted: defaultdict[str, set[str]] = defaultdict(set)
    beginnings: set[str] = set()
    for recipe in recipes:
        service = recipe.service.name
        for one in (one for stage in recipe.parsed.stages for one in stage.instructions):
            text = _written(one)
            if not text:
                continue
            if one.keyword != "RUN" and "$" in text:  # of these, the engine tells with their values
                text = text.partition("$")[0]
                if len(text.split()) < 2:
                    continue  # any step begins so
                beginnings.add(text)
            instructions[text].add(service)
            for id, _seed in cache_mounts(recipe.parsed, one):
                mounts[id].add(service)
                mounted[text].add(id)
    return Places(
        _frozen(mounts),
        _frozen(instructions),
        _frozen(mounted),
        tuple(sorted(beginnings, key=len, reverse=True)),
    )


def cache_mounts(dockerfile: Dockerfile, one: Instruction) -> Iterator[tuple[str, str]]:
    """The ids of an instruction's cache mounts, where they are known before the build, and what each is seeded from."""
    values = {name: value for name, value in dockerfile.arguments.items() if value is not None}
    for mount in one.mounts:
        id = mount.get("id") or mount.get("target") or mount.get("dst") or mount.get("destination") or ""
        if mount.get("type") == "cache" and id and {*_VARIABLE.findall(id)} <= values.keys():
            yield expand(id, values), mount.get("from", "")


def written_texts(dockerfile: Dockerfile) -> Iterator[str]:
    """The steps of a Dockerfile as the engine tells of their layers."""
    for one in (one for stage in dockerfile.stages for one in stage.instructions):
        if text := _written(one):
            yield text


def _frozen(found: Mapping[str, set[str]]) -> dict[str, frozenset[str]]:
    return {key: frozenset(values) for key, values in found.items()}


def _written(one: Instruction) -> str:
    """An instruction as the engine tells of its layer, without quotes; "" for one that makes none."""
    if one.keyword == "RUN":
        command = _FLAGS.sub("", one.rest, count=1)
        return _bare(one.heredoc if one.heredoc and command.startswith("<<") else _joined_words(command))
    return _bare(f"{one.keyword} {one.rest}") if one.keyword in _COPYING else ""


def _joined_words(command: str) -> str:
    """A command that is given as a list of words, as the engine tells of it; any other as it is."""
    with suppress(ValueError, RecursionError):
        words = json.loads(command) if command.startswith("[") else None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return _command(" ".join(words))
    return command


def _command(executed: str) -> str:
    """What was executed, without the shell that it was given to."""
    return executed.partition(_SHELL)[2] or executed


def _told(record: CacheRecord) -> str:
    """The same of a layer's record."""
    if record.description.startswith(_EXECUTED):
        return _bare(_command(record.description.removeprefix(_EXECUTED)))
    return _bare(instruction(record))


def _bare(text: str) -> str:
    return joined(text.replace('"', "").replace("'", ""))
