"""In which order samples are taken: rounds in which each variant comes once, shuffled. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import Sample
from benchmarks.scenarios import Scenario
from benchmarks.variants import Variant


@dataclass(frozen=True)
class Choice:
    """What a run measures. Empty `variants`: those that each scenario measures by itself.

    `without` are variants that are left out of either.
    """

    scenarios: tuple[Scenario, ...]
    services: tuple[str, ...]
    variants: tuple[str, ...]
    runs: int
    slow_runs: int
    seed: int
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slot:
    """One sample to take."""

    variant: Variant
    round: int


@dataclass(frozen=True)
class Block:
    """The samples of one scenario and service, in order."""

    scenario: Scenario
    service: str
    slots: tuple[Slot, ...]

    @property
    def variants(self) -> tuple[Variant, ...]:
        return tuple(dict.fromkeys(slot.variant for slot in self.slots))


def blocks(choice: Choice, variants: Sequence[Variant]) -> Iterator[Block]:
    """Everything that `choice` asks for. The same choice gives the same order."""
    for scenario in choice.scenarios:
        for service in choice.services:
            chosen = [v for v in variants if v.service == service and _is_chosen(choice, scenario, v)]
            if chosen:
                yield Block(scenario, service, tuple(_slots(choice, scenario, service, chosen)))


def remaining(block: Block, taken: Iterable[Sample]) -> Block:
    """The block without the samples that an interrupted run has taken. What failed is tried again."""
    known = {(s.service, s.scenario, s.variant, s.round) for s in taken if s.seconds is not None}
    left = tuple(
        slot
        for slot in block.slots
        if (block.service, block.scenario.name, slot.variant.name, slot.round) not in known
    )
    return Block(block.scenario, block.service, left)


def _is_chosen(choice: Choice, scenario: Scenario, variant: Variant) -> bool:
    if variant.name in choice.without:
        return False
    if choice.variants:
        return variant.name in choice.variants and scenario.can_measure(variant)
    return scenario.measures(variant)


def _slots(choice: Choice, scenario: Scenario, service: str, chosen: Sequence[Variant]) -> Iterator[Slot]:
    for number in range(1, choice.runs + 1):
        turn = [v for v in chosen if number <= choice.slow_runs or not scenario.is_slow(v)]
        random.Random(f"{choice.seed} {scenario.name} {service} {number}").shuffle(turn)
        yield from (Slot(variant, number) for variant in turn)
