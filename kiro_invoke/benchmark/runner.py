"""Takes the samples: has a place brought into a scenario's state, then times one build, and saves it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kiro_invoke.benchmark.estimate import expected, words_left
from kiro_invoke.benchmark.samples import Key, Sample
from kiro_invoke.benchmark.scenarios import Variant
from kiro_invoke.benchmark.schedule import Block, Slot
from kiro_invoke.model.errors import BuildFailed
from kiro_invoke.plain import clean

#: So many of a failed step's last lines are kept.
_TAIL = 20


class CannotMeasure(Exception):
    """A figure has no meaning here, or cannot be had: the reason."""


class Place(Protocol):
    """Where it is measured. What a build raises is BuildFailed, in one line."""

    def settle(self, block: Block) -> None:
        """Make ready for a block: build once what its samples change, untimed. CannotMeasure if that cannot be."""

    def prepare(self, slot: Slot) -> None:
        """Bring caches and files into the state that a sample begins from. CannotMeasure if that is not possible."""

    def build(self, key: Key) -> None:
        """Build it: this is what is timed."""

    def after(self) -> None:
        """Take away what a sample alone has made."""

    def rest(self) -> None:
        """A block has ended: leave files as they were before it."""


@dataclass
class Runner:
    """Measures blocks in a place. `taken` is called with each sample, `unmeasured` with what cannot be measured."""

    place: Place
    clock: Callable[[], float]
    #: when it is (ISO 8601)
    now: Callable[[], str]
    #: seconds of a fixed piece of work
    probe: Callable[[], float]
    taken: Callable[[Sample], None]
    unmeasured: Callable[[str], None]
    say: Callable[[str], None]
    before: dict[Key, float] = field(default_factory=dict)
    _samples: list[Sample] = field(default_factory=list)
    _taken: int = 0
    _all: int = 0

    def measure(self, blocks: Sequence[Block], *, already: Sequence[Sample] = ()) -> None:
        """Take the samples of all blocks. Of what fails to build once, no more samples are taken in its block."""
        self._samples = list(already)
        self._taken = 0
        self._all = sum(len(block.slots) for block in blocks)
        for at, block in enumerate(blocks):
            self._block(block, blocks[at + 1 :])

    def _block(self, block: Block, later: Sequence[Block]) -> None:
        given_up: set[Variant] = set()
        try:
            block = self._settled(block)
            for at, slot in enumerate(block.slots):
                if slot.key.variant in given_up:
                    continue
                left = Block(block.scenario, block.service, block.slots[at + 1 :]).without(given_up)
                if not self._slot(slot, (left, *later)):
                    given_up.add(slot.key.variant)
        finally:
            self.place.rest()

    def _settled(self, block: Block) -> Block:
        """The block without the variants that cannot be made ready."""
        for variant in block.variants:
            alone = block.without(each for each in block.variants if each is not variant)
            try:
                self.say(f"{block.service} {block.scenario} {variant}: making ready")
                self.place.settle(alone)
            except CannotMeasure as reason:
                self._cannot(alone.slots[0].key, str(reason))
                block = block.without([variant])
            except BuildFailed as error:
                self._take(_failed(alone.slots[0], error, self.now()))
                block = block.without([variant])
        return block

    def _slot(self, slot: Slot, later: Sequence[Block]) -> bool:
        """Take one sample; False if this figure is to be given up."""
        try:
            self.place.prepare(slot)
            sample = self._timed(slot)
        except CannotMeasure as reason:
            self._cannot(slot.key, str(reason))
            return False
        except BuildFailed as error:
            sample = _failed(slot, error, self.now())
        finally:
            self.place.after()
        self._take(sample, later)
        return sample.seconds is not None

    def _timed(self, slot: Slot) -> Sample:
        probe, at = round(self.probe(), 5), self.now()
        begun = self.clock()
        try:
            self.place.build(slot.key)
        except BuildFailed as error:
            return _failed(slot, error, at, probe)
        return Sample(slot.key, slot.round, round(self.clock() - begun, 3), probe, at)

    def _take(self, sample: Sample, later: Sequence[Block] = ()) -> None:
        self._samples.append(sample)
        self._taken += 1
        self.taken(sample)
        key = sample.key
        what = f"failed: {sample.detail}" if sample.seconds is None else f"{sample.seconds:.2f} s"
        left = words_left(later, expected(self._samples, self.before))
        for line in sample.tail:
            self.say(f"  | {line}")
        rest = ", ".join(filter(None, (f"{self._taken} of {self._all}", left)))
        self.say(f"{key.service} {key.scenario} {key.variant} {sample.round}: {what}   ({rest})")

    def _cannot(self, key: Key, reason: str) -> None:
        line = f"{key.service} {key.scenario} {key.variant}: not measured: {reason}"
        self.unmeasured(line)
        self.say(line)


def _failed(slot: Slot, error: BuildFailed, at: str, probe: float = 0.0) -> Sample:
    """A sample of what failed to build: the message in one line, and the last words of the step."""
    detail = clean(" ".join(str(error).split()))
    tail = tuple(clean(line) for line in error.tail[-_TAIL:])
    return Sample(slot.key, slot.round, None, probe, at, detail, tail)
