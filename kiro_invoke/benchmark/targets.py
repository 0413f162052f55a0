"""What is promised of speed, and whether the figures of a run keep it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kiro_invoke.benchmark.samples import Key, Samples
from kiro_invoke.benchmark.scenarios import Scenario, Variant, measures

#: The percentages that `fast` must save unless others are asked for.
BACKEND, FRONTEND = 80.0, 70.0
_COLD_GAIN = 40.0
_WARM_SECONDS, _COLD_SECONDS = 30.0, 300.0
_CARGO = "cargo"
_NODE = frozenset({"npm", "pnpm", "yarn"})


class Verdict(StrEnum):
    """What became of a claim. Nothing that was not measured counts as met; TOLD has no target."""

    MET = "met"
    MISSED = "missed"
    UNMEASURED = "not measured"
    TOLD = "told"


@dataclass(frozen=True)
class Improvement:
    """What a variant saves against a baseline, in percent of the baseline's time; negative where it is slower.

    `baseline_scenario` differs from `scenario` where what keeps nothing stands for itself: any change costs it all.
    `equal_profile`: both make the same kind of image.
    """

    service: str
    scenario: Scenario
    variant: Variant
    baseline: Variant
    baseline_scenario: Scenario
    percent: float | None
    target: float | None
    verdict: Verdict
    equal_profile: bool = False


@dataclass(frozen=True)
class Limit:
    """What a variant may take at most, in seconds."""

    service: str
    scenario: Scenario
    variant: Variant
    seconds: float | None
    limit: float
    verdict: Verdict


@dataclass(frozen=True)
class Wanted:
    """A service as its targets know it: its ecosystem, and what percentage `fast` must save of `standard`."""

    service: str
    ecosystem: str
    percent: float
    #: whether its unoptimized Dockerfile has a twin at the debug profile
    has_debug: bool = False


def percent_for(ecosystem: str, *, backend: float = BACKEND, frontend: float = FRONTEND) -> float:
    """What is to be saved by a service: front ends are those that Node's package managers know."""
    return frontend if ecosystem in _NODE else backend


def improvements(samples: Samples, services: Sequence[Wanted]) -> tuple[Improvement, ...]:
    """Every comparison: those with a target first, then the same at equal profile, then both where nothing changed."""
    return tuple(one for service in services for one in _improvements(samples, service))


def limits(samples: Samples, services: Sequence[Wanted]) -> tuple[Limit, ...]:
    """Every limit in seconds."""
    rows = (
        (Scenario.WARM, Variant.FAST, _WARM_SECONDS),
        (Scenario.WARM, Variant.PROD, _WARM_SECONDS),
        (Scenario.COLD, Variant.FAST, _COLD_SECONDS),
        (Scenario.COLD, Variant.PROD, _COLD_SECONDS),
    )
    return tuple(
        _limit(samples, Key(service.service, scenario, variant), most)
        for service in services
        for scenario, variant, most in rows
    )


def _improvements(samples: Samples, of: Wanted) -> Iterator[Improvement]:
    # profile and technique are never mixed up: the same kind of image, made in both ways
    debug = Variant.STANDARD_DEV if of.has_debug else Variant.STANDARD
    gain = _COLD_GAIN if of.ecosystem == _CARGO else None
    wanted = {Scenario.WARM: of.percent, Scenario.SOURCE: of.percent, Scenario.COLD: gain}
    for scenario, target in wanted.items():
        equal = debug is Variant.STANDARD
        yield _compared(samples, of.service, scenario, (Variant.FAST, Variant.STANDARD), target, equal=equal)
    pairs = [(Variant.PROD, Variant.STANDARD)]
    if of.has_debug:
        pairs.append((Variant.FAST, Variant.STANDARD_DEV))
    for scenario in Scenario:
        for pair in pairs:
            told = _compared(samples, of.service, scenario, pair, None, equal=True)
            if scenario in wanted or told.percent is not None:
                yield told
    for variant in (Variant.FAST, Variant.PROD):
        yield _unchanged(samples, of.service, variant)


def _compared(
    samples: Samples,
    service: str,
    scenario: Scenario,
    pair: tuple[Variant, Variant],
    target: float | None,
    *,
    equal: bool,
) -> Improvement:
    variant, baseline = pair
    at = _stands_for(samples, service, scenario, baseline)
    ratio = samples.ratio(Key(service, scenario, variant), Key(service, at, baseline))
    percent = None if ratio is None else round((1 - ratio) * 100, 1)
    verdict = _verdict(percent, target)
    return Improvement(service, scenario, variant, baseline, at, percent, target, verdict, equal)


def _unchanged(samples: Samples, service: str, variant: Variant) -> Improvement:
    """Where nothing changed, Docker's own cache serves the unoptimized Dockerfile too: told as it is."""
    ratio = samples.ratio(Key(service, Scenario.WARM, variant), Key(service, Scenario.WARM, Variant.STANDARD))
    percent = None if ratio is None else round((1 - ratio) * 100, 1)
    return Improvement(
        service,
        Scenario.WARM,
        variant,
        Variant.STANDARD,
        Scenario.WARM,
        percent,
        None,
        _verdict(percent, None),
    )


def _stands_for(samples: Samples, service: str, scenario: Scenario, baseline: Variant) -> Scenario:
    """In which scenario the baseline was measured whose cost it has in this one.

    To what keeps nothing, each change is the same, and a build that was not kept warm is as good as a change: it is
    what a warm cache saves. Layers lost are a cold build to it.
    """
    key = Key(service, scenario, baseline)
    if scenario is Scenario.LAYERS_LOST:
        return Scenario.COLD
    if scenario is Scenario.WARM or (not measures(scenario, baseline) and samples.median(key) is None):
        return Scenario.SOURCE
    return scenario


def _limit(samples: Samples, key: Key, most: float) -> Limit:
    seconds = samples.median(key)
    return Limit(key.service, key.scenario, key.variant, seconds, most, _within(seconds, most))


def _within(seconds: float | None, most: float) -> Verdict:
    if seconds is None:
        return Verdict.UNMEASURED
    return Verdict.MET if seconds < most else Verdict.MISSED


def _verdict(percent: float | None, target: float | None) -> Verdict:
    if percent is None:
        return Verdict.UNMEASURED
    if target is None:
        return Verdict.TOLD
    return Verdict.MET if percent >= target else Verdict.MISSED
