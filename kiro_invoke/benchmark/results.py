"""What came of a run: judged, counted, and as JSON fields. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kiro_invoke.benchmark.run import Run
from kiro_invoke.benchmark.samples import Key, Sample, Samples, unsteadiness
from kiro_invoke.benchmark.scenarios import Scenario
from kiro_invoke.benchmark.targets import Improvement, Limit, Verdict, Wanted, improvements, limits

COMMAND = "test-build-performance"
#: By so much may the machine's speed vary within a run before that is said.
_STEADY = 0.15
#: By so much may the samples of one figure scatter before that is said.
_CLOSE = 0.1


@dataclass(frozen=True)
class Results:
    """A run, judged."""

    run: Run
    improved: tuple[Improvement, ...]
    limited: tuple[Limit, ...]

    @property
    def missed(self) -> tuple[Improvement | Limit, ...]:
        every: tuple[Improvement | Limit, ...] = (*self.improved, *self.limited)
        return tuple(one for one in every if one.verdict is Verdict.MISSED)

    @property
    def failures(self) -> tuple[Sample, ...]:
        """What failed to build, and has not been built since."""
        built = {(one.key, one.round) for one in self.run.samples if one.seconds is not None}
        failed = {(one.key, one.round): one for one in self.run.samples if one.seconds is None}
        return tuple(one for place, one in failed.items() if place not in built)

    @property
    def ok(self) -> bool:
        """Whether something was measured, and nothing of it missed its target or failed."""
        measured = any(one.seconds is not None for one in self.run.samples)
        return measured and not self.missed and not self.failures

    @property
    def title(self) -> str:
        """What it came to, in a few words."""
        if not self.ok:
            return "not all met"
        met = any(claim.verdict is Verdict.MET for claim in claims(self))
        return "all that was measured is met" if met else "nothing was judged"

    @property
    def noise(self) -> tuple[str, ...]:
        """What makes the figures less sure, a line each."""
        return tuple(_noise(self.run))


def judged(run: Run, services: Sequence[Wanted]) -> Results:
    figures = run.figures
    return Results(run, improvements(figures, services), limits(figures, services))


def fields(results: Results) -> dict[str, Any]:
    """The command's part of its JSON object."""
    run, figures = results.run, results.run.figures
    return {
        "begun": run.begun,
        "machine": run.machine,
        "samples": [_figure_fields(figures, key) for key in figures.keys],
        "improvements": [_improvement_fields(one) for one in results.improved],
        "limits": [_limit_fields(one) for one in results.limited],
        "verdicts": {str(name): count for name, count in tally(results).items()},
        "failures": [
            _key_fields(one.key) | {"message": one.detail, "tail": list(one.tail)} for one in results.failures
        ],
        "not_measured": list(run.unmeasured),
        "noise": list(results.noise),
        "finished": run.finished,
    }


@dataclass(frozen=True)
class Claim:
    """One claim with a target, in words, and what was found."""

    service: str
    text: str
    found: str
    verdict: Verdict


def claims(results: Results) -> tuple[Claim, ...]:
    """The claims that have a target, and that the run was asked to measure."""
    found = [
        Claim(
            one.service,
            f"{one.scenario}: {one.variant} saves {one.target:g}% of {baseline_of(one)}",
            "-" if one.percent is None else f"{one.percent:.1f}%",
            one.verdict,
        )
        for one in results.improved
        if one.target is not None and _is_asked(results, one)
    ]
    found += [
        Claim(
            one.service,
            f"{one.scenario}: {one.variant} takes less than {one.limit:g} s",
            "-" if one.seconds is None else f"{one.seconds:.2f} s",
            one.verdict,
        )
        for one in results.limited
        if _is_asked(results, one)
    ]
    return tuple(found)


def _is_asked(results: Results, one: Improvement | Limit) -> bool:
    """Whether a claim is one of what the run measures; of what nobody asked for there is nothing to tell."""
    choice = results.run.choice
    has = one.variant in choice.variants.get(one.service, ())
    chosen = has and (not choice.chosen or one.variant in choice.chosen)
    return one.verdict is not Verdict.UNMEASURED or (one.scenario in choice.scenarios and chosen)


def tally(results: Results) -> dict[Verdict, int]:
    """How many claims came to what, and how many comparisons were told without a target."""
    found = [claim.verdict for claim in claims(results)]
    told = sum(one.verdict is Verdict.TOLD for one in results.improved)
    return {verdict: told if verdict is Verdict.TOLD else found.count(verdict) for verdict in Verdict}


def counted(results: Results) -> str:
    """The claims, counted, in words."""
    found = tally(results)
    if not results.run.samples:
        return "nothing was measured"
    return (
        f"{found[Verdict.MET]} met, {found[Verdict.MISSED]} missed, {found[Verdict.UNMEASURED]} not measured"
    )


def saved(percent: float) -> str:
    """What one takes against another, in words."""
    return f"{percent:.1f}% less" if percent >= 0 else f"{-percent:.1f}% more"


def baseline_of(one: Improvement) -> str:
    """What it is compared with, and after what, where that is another scenario."""
    return (
        str(one.baseline)
        if one.scenario is one.baseline_scenario
        else f"{one.baseline} ({one.baseline_scenario})"
    )


def footing(one: Improvement) -> str:
    """On what footing the two are compared."""
    if one.scenario is Scenario.WARM and one.baseline_scenario is Scenario.WARM:
        return "nothing changed for both"
    return "at equal profile" if one.equal_profile else "another profile"


def _noise(run: Run) -> Iterable[str]:
    varied = unsteadiness(run.samples)
    if varied is not None and varied > _STEADY:
        yield f"a noisy machine: its own speed varied by {varied:.0%} during the run, figures may be off by as much"
    figures = run.figures
    for key in figures.keys:
        figure = figures.figure(key)
        name = f"{key.service} {key.scenario} {key.variant}"
        if figure.spread > _CLOSE:
            yield f"{name}: its samples scatter by {figure.spread:.0%} around the median"
        for at in figure.outliers:
            yield f"{name}: sample {at + 1} is an outlier ({figure.seconds[at]:.2f} s)"


def _figure_fields(figures: Samples, key: Key) -> dict[str, Any]:
    figure = figures.figure(key)
    return _key_fields(key) | {
        "seconds": list(figure.seconds),
        "median": None if figure.median is None else round(figure.median, 3),
        "spread": round(figure.spread, 4),
        "outliers": list(figure.outliers),
        "failed": figure.failed,
    }


def _key_fields(key: Key) -> dict[str, Any]:
    return {"service": key.service, "scenario": str(key.scenario), "variant": str(key.variant)}


def _improvement_fields(one: Improvement) -> dict[str, Any]:
    return {
        "service": one.service,
        "scenario": str(one.scenario),
        "variant": str(one.variant),
        "baseline": str(one.baseline),
        "baseline_scenario": str(one.baseline_scenario),
        "percent": one.percent,
        "target": one.target,
        "passed": _passed(one.verdict),
        "verdict": str(one.verdict),
        "equal_profile": one.equal_profile,
    }


def _limit_fields(one: Limit) -> dict[str, Any]:
    return {
        "service": one.service,
        "scenario": str(one.scenario),
        "variant": str(one.variant),
        "seconds": one.seconds,
        "limit": one.limit,
        "passed": _passed(one.verdict),
        "verdict": str(one.verdict),
    }


def _passed(verdict: Verdict) -> bool | None:
    """None where there is nothing to pass, or it was not measured."""
    return {Verdict.MET: True, Verdict.MISSED: False}.get(verdict)
