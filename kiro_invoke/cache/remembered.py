"""What a checkout remembers of the layers that its builds made: with it, most builds need no look at the engine's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from kiro_invoke.cache.made import began, ended, joined, layers_of, ran_here
from kiro_invoke.cache.records import MOUNT
from kiro_invoke.engine.files import write_whole
from kiro_invoke.engine.protocol import CacheRecord, Engine
from kiro_invoke.model.record import Step
from kiro_invoke.model.service import Project

#: In the state folder. Its owner's alone: instructions are told with their build arguments filled in.
LAYERS = "layers.json"
_OWNERS_ALONE = 0o600
#: How many builds in a row are reckoned: the sizes that it is done with grow old.
RECKONED_BUILDS = 8
#: How many builds that failed are remembered in a row: each may have run the same steps.
_FAILED = 2 * RECKONED_BUILDS
#: How many instructions' sizes are remembered: a change of a Dockerfile leaves one that is not used again.
_SIZES = 200


@dataclass(frozen=True)
class Reckoned:
    """A build after which nothing was read: the steps that ran, and the bytes that they probably left."""

    steps: tuple[Step, ...]
    bytes: int


@dataclass(frozen=True)
class Made:
    """The layers that builds of this checkout made, and the bytes of those since the last reclaiming.

    `weight` is what the cache held on `engine` when it was last read, in bytes, less what images hold too, `mounts` the
    part of it that cache mounts held (None: not known).
    `sizes` tells for each instruction what its layer held. Builds that were `reckoned` since are in none of these.
    """

    layers: frozenset[str] = frozenset()
    gathered: int = 0
    weight: int = 0
    engine: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    reckoned: tuple[Reckoned, ...] = ()
    mounts: int | None = None

    @property
    def reckoned_bytes(self) -> int:
        return sum(build.bytes for build in self.reckoned)

    def reckon(self, steps: Iterable[Step], engine: str) -> Made | None:
        """With one more build on `engine`; None where it is time to read what its steps left."""
        ran = tuple(filter(ran_here, steps))
        sizes = [self.sizes.get(joined(step.text)) for step in ran]
        bytes = sum(size for size in sizes if size is not None)
        if None in sizes or engine != self.engine or len(self.reckoned) >= RECKONED_BUILDS:
            return None
        return replace(self, reckoned=(*self.reckoned, Reckoned(ran, bytes)))

    def read(self, records: Sequence[CacheRecord], engine: str, steps: Iterable[Step] = ()) -> Made:
        """With what the cache's records tell of the builds that were reckoned, and of one more with these steps.

        What was reckoned of another engine its records do not tell.
        """
        size = {record.id: record.size for record in records}
        sizes = dict(self.sizes)
        fresh: set[str] = set()
        reckoned = self.reckoned if engine == self.engine else ()
        builds = [*(build.steps for build in reckoned), tuple(steps)]
        for ran in builds:
            # one by one, each as it would have been read before the next began (see layers_of); of two at one time,
            # neither was the next
            following = min((one for one in map(began, builds) if one > ended(ran)), default=math.inf)
            for text, found in layers_of(records, ran, following).items():
                fresh |= found
                before = sizes.pop(text, 0)  # the last one stands last
                # the engine may have dropped what is not found; what never was, is not read in vain at each build
                sizes[text] = max((size[id] for id in found), default=before)
        fresh -= self.layers
        return Made(
            (self.layers & size.keys()) | fresh,
            self.gathered + sum(size[id] for id in fresh),
            weight(records),
            engine,
            dict(list(sizes.items())[-_SIZES:]),
            mounts=mounts_weight(records),
        )


def note_failed(file: Path, steps: Iterable[Step], engine: str) -> None:
    """Remember the steps of a build that failed: the layers that it made are read with those of the next one."""
    made, ran = read_made(file), tuple(filter(ran_here, steps))
    if ran and made.engine == engine:
        size = sum(made.sizes.get(joined(step.text), 0) for step in ran)
        write_made(file, replace(made, reckoned=(*made.reckoned, Reckoned(ran, size))[-_FAILED:]))


def must_read(engine: Engine, project: Project, steps: Sequence[Step]) -> bool:
    """Whether `reclaim.after_build` will ask for the records of the cache as they are right after the build."""
    if engine.facts.builder:
        return False
    made = read_made(project.state / LAYERS)
    return any(map(ran_here, steps)) and made.reckon(steps, engine.facts.address) is None


@dataclass(frozen=True)
class CacheSize:
    """What an engine's cache holds in bytes; `mounts` is the part of it that cache mounts hold, None if not known."""

    bytes: int
    mounts: int | None


def cache_size(engine: Engine, project: Project) -> CacheSize:
    """What the engine's cache held when it was last read, with what builds of this checkout probably added since.

    Reading takes an engine with thousands of records longer than a build in which nothing changed. Of a builder's
    cache, which is not this checkout's to weigh, nothing is known.
    """
    if engine.facts.builder:
        return CacheSize(0, None)
    file, address = project.state / LAYERS, engine.facts.address
    made = read_made(file)
    if made.engine != address:
        records = engine.cache_records()
        made = replace(
            made, weight=weight(records), mounts=mounts_weight(records), engine=address, reckoned=()
        )
        write_made(file, made)
    elif made.mounts is None:  # an older version read it
        made = made.read(engine.cache_records(), address)
        write_made(file, made)
    return CacheSize(made.weight + made.reckoned_bytes, made.mounts)


def weight(records: Iterable[CacheRecord]) -> int:
    """What the cache holds in bytes, less what images hold too."""
    return sum(record.size for record in records if not record.shared)


def mounts_weight(records: Iterable[CacheRecord]) -> int:
    """What cache mounts hold of it."""
    return weight(record for record in records if record.kind == MOUNT)


def read_made(file: Path) -> Made:
    """What is remembered: nothing where the file is missing or damaged."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raw = json.loads(file.read_text(encoding="utf-8"))
        return Made(
            frozenset(map(str, raw["layers"])),
            _bytes(raw["gathered"]),
            _bytes(raw.get("weight", 0)),
            str(raw.get("engine", "")),
            {str(text): _bytes(size) for text, size in raw.get("sizes", {}).items()},
            tuple(
                Reckoned(tuple(map(_step, build["steps"])), _bytes(build["bytes"]))
                for build in raw.get("reckoned", ())
            ),
            None if raw.get("mounts") is None else _bytes(raw["mounts"]),
        )
    return Made()


def _bytes(raw: str | float) -> int:
    """A number that can be reckoned with: an integer of hundreds of digits is no float."""
    return int(float(raw))


def _step(raw: Mapping[str, Any]) -> Step:
    return Step(
        service=str(raw["service"]),
        stage=str(raw["stage"]),
        text=str(raw["text"]),
        cached=bool(raw["cached"]),
        seconds=float(raw["seconds"]),
        started=float(raw["started"]),
        completed=float(raw["completed"]),
    )


def write_made(file: Path, made: Made) -> None:
    """Remember; where that is not possible, later builds reclaim less."""
    with suppress(OSError):
        write_whole(file, json.dumps({**asdict(made), "layers": sorted(made.layers)}), mode=_OWNERS_ALONE)
