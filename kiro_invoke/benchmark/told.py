"""What came of a run, as lines for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kiro_invoke.benchmark import machine
from kiro_invoke.benchmark.results import Results, claims, footing
from kiro_invoke.benchmark.samples import Key
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.targets import Verdict, verdicts

_STYLES = {Verdict.MET: "green", Verdict.MISSED: "red", Verdict.UNMEASURED: "yellow", Verdict.TOLD: ""}
#: Texts with the style of each.
Line = tuple[str | tuple[str, str], ...]


def lines(results: Results) -> Iterator[Line]:
    """The medians of each service, each claim with its verdict, what is told besides, and how sure it is."""
    run = results.run
    for service in run.choice.variants:
        yield from _service(results, service)
    width = max((len(claim.service) for claim in claims(results)), default=0)
    for claim in claims(results):
        verdict = (f"{claim.verdict!s:<13}", _STYLES[claim.verdict])
        yield verdict, f"{claim.service:<{width}}  {claim.text}: {claim.found}"
    told = [one for one in results.improved if one.target is None and one.percent is not None]
    if told:
        yield ("",)
        yield ("without a target:",)
    for one in told:
        at = "" if one.scenario is one.baseline_scenario else f" ({one.baseline_scenario})"
        yield (
            f"  {one.service:<{width}}  {one.scenario}: {one.variant} against {one.baseline}{at}, {footing(one)}:"
            f" {one.percent:+.1f}%",
        )
    yield ("",)
    for failed in results.failures:
        key = failed.key
        yield ((f"{key.service} {key.scenario} {key.variant} failed to build: {failed.detail}", "red"),)
    for line in (*results.noise, *run.unmeasured):
        yield ((line, "yellow"),)
    yield (machine.words(run.machine),)
    counted = verdicts(results.improved, results.limited)
    yield (
        f"{counted[Verdict.MET]} met, {counted[Verdict.MISSED]} missed, {counted[Verdict.UNMEASURED]} not measured",
    )


def _service(results: Results, service: str) -> Iterator[Line]:
    figures = results.run.figures
    keys = [key for key in figures.keys if key.service == service]
    if not keys:
        return
    variants = [variant for variant in Variant if any(key.variant is variant for key in keys)]
    yield (f"{service:<42}" + "".join(f"{variant!s:>14}" for variant in variants),)
    for scenario in Scenario:
        if not any(key.scenario is scenario for key in keys):
            continue
        cells = []
        for variant in variants:
            figure = figures.figure(Key(service, scenario, variant))
            failed = "failed" if figure.failed else "-"
            cells.append(failed if figure.median is None else f"{figure.median:.2f} s")
        yield (f"  {scenario.described:<40}" + "".join(f"{cell:>14}" for cell in cells),)
    yield ("",)
