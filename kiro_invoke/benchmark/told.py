"""What came of a run, as lines for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kiro_invoke.benchmark import machine
from kiro_invoke.benchmark.results import Results, claims, counted, footing, saved
from kiro_invoke.benchmark.samples import Key, Samples
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.targets import Verdict

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
            f" {saved(one.percent or 0.0)}",
        )
    yield ("",)
    for failed in results.failures:
        key = failed.key
        yield from ((f"  | {line}",) for line in failed.tail)
        yield ((f"{key.service} {key.scenario} {key.variant} failed to build: {failed.detail}", "red"),)
    for line in (*results.noise, *run.unmeasured):
        yield ((line, "yellow"),)
    yield (machine.words(run.machine),)
    yield (counted(results),)


def _service(results: Results, service: str) -> Iterator[Line]:
    """A service's medians: as wide as they must be, since terminals are narrow."""
    figures = results.run.figures
    keys = [key for key in figures.keys if key.service == service]
    if not keys:
        return
    variants = [variant for variant in Variant if any(key.variant is variant for key in keys)]
    scenarios = [scenario for scenario in Scenario if any(key.scenario is scenario for key in keys)]
    head = (f"{service}, seconds", *map(str, variants))
    rows = [
        (scenario.described, *(_cell(figures, Key(service, scenario, variant)) for variant in variants))
        for scenario in scenarios
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for first, *others in (head, *rows):
        cells = (f"  {cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
        yield (f"{first:<{widths[0]}}{''.join(cells)}",)
    yield ("",)


def _cell(figures: Samples, key: Key) -> str:
    figure = figures.figure(key)
    if figure.median is None:
        return "failed" if figure.failed else "-"
    return f"{figure.median:.2f}"
