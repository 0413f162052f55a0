"""Takes the samples: brings the engine and the tree into a scenario's state, then times one build."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine
from benchmarks.dependencies import Packages
from benchmarks.doors import Builder
from benchmarks.edits import EDITS
from benchmarks.engine import BenchEngine
from benchmarks.figures import Sample
from benchmarks.scenarios import DEPENDENCY, Loss, Scenario
from benchmarks.schedule import Block, Slot
from benchmarks.trees import Tree
from benchmarks.variants import Door, Variant
from kiro_invoke.benchmark.numbers import Counter
from kiro_invoke.builds.dockerfile import parse

#: What the build cache is cut down to between samples: superseded layers would fill the disk.
_MOST_CACHE = "14gb"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """An engine with what belongs to it: a tree, numbers of edits, the images that others stand on."""

    engine: BenchEngine
    tree: Tree
    builder: Builder
    counter: Counter
    bases: tuple[str, ...]
    ca_bundle: Path | None

    def packages(self, service: str) -> Packages:
        return Packages(self.engine, self.tree, service, standard_base(service), self.ca_bundle)


class Runner:
    """Measures blocks on one engine; `taken` is called with each sample."""

    def __init__(self, place: Place, taken: Callable[[Sample], None], say: Say) -> None:
        self._place = place
        self._taken = taken
        self._say = say
        self._packages: dict[str, Packages] = {}

    def measure(self, block: Block) -> None:
        """Take the samples of a block, and leave the tree as it was."""
        try:
            self._settle(block)
            for slot in block.slots:
                self._taken(self._sample(block.scenario, slot))
        finally:
            self._place.builder.stop_containers()
            self._place.tree.write(block.service, {})

    def _sample(self, scenario: Scenario, slot: Slot) -> Sample:
        variant = slot.variant
        self._lose(scenario.loss)
        edit = self._edit(scenario, variant.service)
        load = machine.load()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        timed = self._place.builder.build(variant)
        shown = "failed" if timed.seconds is None else f"{timed.seconds:.2f} s"
        more = f" ({timed.detail})" if timed.detail and timed.seconds is not None else ""
        self._say(f"{variant.service} {scenario.name} {variant.name} {slot.round}: {shown}{more}")
        if scenario.name == DEPENDENCY:
            self._trim()
        return Sample(
            service=variant.service,
            scenario=scenario.name,
            variant=variant.name,
            round=slot.round,
            seconds=timed.seconds,
            edit=edit,
            load=load,
            at=at,
            detail=timed.detail,
        )

    def _settle(self, block: Block) -> None:
        """Build each variant once, untimed, so that what follows is a change to a warm state.

        Not what keeps nothing, and not where all of it will be taken away.
        """
        self._place.tree.write(block.service, {})
        self._trim()
        if block.scenario.loss is Loss.ALL:
            return
        for variant in block.variants:
            if variant.stateless and (block.scenario.edits or block.scenario.loss is Loss.LAYERS):
                continue
            timed = self._place.builder.build(variant)
            if timed.seconds is None:
                self._say(f"{variant.service} {variant.name} does not build:\n{timed.detail}")
            elif variant.door is Door.CARGO:
                self._warm_up(block.scenario, variant)

    def _warm_up(self, scenario: Scenario, variant: Variant) -> None:
        """The first edit in a new container costs more than each that follows."""
        self._edit(scenario, variant.service)
        self._place.builder.build(variant)

    def _lose(self, loss: Loss) -> None:
        place = self._place
        if loss in {Loss.LAYERS, Loss.ALL}:
            place.engine.remove_images(place.bases)
        if loss is not Loss.NOTHING:
            place.engine.prune(loss)
        if loss is Loss.ALL:
            place.tree.forget_state()

    def _edit(self, scenario: Scenario, service: str) -> int:
        """Apply the scenario's next edit; its number, or 0 if it has none."""
        name = scenario.edits.get(service)
        if name is None:
            return 0
        number = self._place.counter.next("edit")
        if name == DEPENDENCY:
            self._place.tree.write(service, self._next_dependency(service))
        else:
            self._place.tree.edit(service, EDITS[service, name], number)
        return number

    def _next_dependency(self, service: str) -> Mapping[str, str]:
        if service not in self._packages:
            self._packages[service] = self._place.packages(service)
        return self._packages[service].take(self._place.counter)

    def _trim(self) -> None:
        """Remove images without a name, and the build cache that was not used for longest beyond a limit."""
        engine = self._place.engine
        engine.must("image", "prune", "--force")
        engine.must("buildx", "prune", "--builder", "default", "--force", "--keep-storage", _MOST_CACHE)


REPOSITORY = Path(__file__).resolve().parents[1]


def standard_base(service: str) -> str:
    """The image that a service is built on."""
    return _bases(REPOSITORY / "benchmarks" / "standard" / f"{service}.Dockerfile")[0]


def all_bases(variants: Sequence[Variant]) -> tuple[str, ...]:
    """The images from outside that the variants stand on."""
    files = dict.fromkeys(REPOSITORY / variant.dockerfile for variant in variants)
    return tuple(dict.fromkeys(ref for file in files for ref in _bases(file)))


def _bases(file: Path) -> tuple[str, ...]:
    return parse(file.read_text(encoding="utf-8")).bases({})
