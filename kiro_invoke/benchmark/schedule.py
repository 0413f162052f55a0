"""In which order samples are taken: in rounds, each variant once, and every second round in reverse. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from kiro_invoke.benchmark.samples import Key, Sample
from kiro_invoke.benchmark.scenarios import Scenario, Variant, can_measure, is_slow, measures


@dataclass(frozen=True)
class Choice:
    """What a run measures. `variants` of each service are those that it has; no `chosen` means the usual ones,
    less those that are `without`.

    `runs` are samples of each, `slow_runs` of what takes minutes. The same `seed` gives the same order.
    """

    scenarios: tuple[Scenario, ...]
    variants: Mapping[str, tuple[Variant, ...]]
    chosen: tuple[Variant, ...] = ()
    runs: int = 3
    slow_runs: int = 3
    seed: int = 0
    without: tuple[Variant, ...] = ()


@dataclass(frozen=True)
class Slot:
    """One sample to take."""

    key: Key
    round: int


@dataclass(frozen=True)
class Block:
    """The samples of one scenario and service, in order."""

    scenario: Scenario
    service: str
    slots: tuple[Slot, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        return tuple(dict.fromkeys(slot.key.variant for slot in self.slots))

    def without(self, variants: Iterable[Variant]) -> Block:
        """The same less the samples of some variants."""
        left = {*variants}
        return replace(self, slots=tuple(slot for slot in self.slots if slot.key.variant not in left))


def blocks(choice: Choice) -> tuple[Block, ...]:
    """Everything that a choice asks for."""
    made = (
        Block(scenario, service, tuple(_slots(choice, scenario, service)))
        for scenario in Scenario
        if scenario in choice.scenarios
        for service in choice.variants
    )
    return tuple(block for block in made if block.slots)


def remaining(wanted: Sequence[Block], taken: Iterable[Sample]) -> tuple[Block, ...]:
    """What an interrupted run has not taken yet. What failed is tried again."""
    known = {(sample.key, sample.round) for sample in taken if sample.seconds is not None}
    left = (
        replace(block, slots=tuple(slot for slot in block.slots if (slot.key, slot.round) not in known))
        for block in wanted
    )
    return tuple(block for block in left if block.slots)


def _slots(choice: Choice, scenario: Scenario, service: str) -> Iterator[Slot]:
    variants = [variant for variant in choice.variants[service] if _is_chosen(choice, scenario, variant)]
    order = variants
    for number in range(1, choice.runs + 1):
        if number % 2:
            order = variants.copy()
            random.Random(f"{choice.seed} {scenario} {service} {number}").shuffle(order)
        else:  # whoever was first is last: what drifts over two rounds falls on all alike
            order = order[::-1]
        for variant in order:
            if number <= choice.slow_runs or not is_slow(scenario, variant):
                yield Slot(Key(service, scenario, variant), number)


def _is_chosen(choice: Choice, scenario: Scenario, variant: Variant) -> bool:
    if choice.chosen:
        return variant in choice.chosen and can_measure(scenario, variant)
    return measures(scenario, variant) and variant not in choice.without
