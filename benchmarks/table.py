"""A run as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from benchmarks.figures import Figures, stands_for
from benchmarks.scenarios import BY_NAME, NOTHING, SCENARIOS
from benchmarks.targets import Judged, Verdict, judge, verdict_of
from benchmarks.variants import SERVICES, of_service


def markdown(figures: Figures, runs: int) -> str:
    """Both tables of each service that was measured, and the verdicts."""
    parts = [part for service in SERVICES for part in _service(figures, service)]
    judged = judge(figures)
    parts += ["## Targets\n", _targets(judged), _summary(judged)]
    heading = (
        f"# Fast Dockerfiles, measured\n\nMedians of {runs} in seconds, number of samples where it differs."
    )
    legend = (
        "In brackets: the share of `standard`. `=` marks a share of what a source edit costs `standard`,"
        " which keeps nothing, so that every change costs it the same."
    )
    return "\n\n".join((heading, legend, *(part.rstrip("\n") for part in parts))) + "\n"


def grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _service(figures: Figures, service: str) -> list[str]:
    names = [v.name for v in of_service(service)]
    measured = [name for name in names if any(figures.figure(service, s.name, name) for s in SCENARIOS)]
    if not measured:
        return []
    scenarios = [s for s in SCENARIOS if any(figures.figure(service, s.name, name) for name in measured)]
    rows = [[s.title, *(_cell(figures, service, s.name, name) for name in measured)] for s in scenarios]
    notes = "\n".join(f"- {v.name}: {v.title}" for v in of_service(service) if v.name in measured)
    return [f"## {service}", notes, grid(["change", *measured], rows)]


def _cell(figures: Figures, service: str, scenario: str, variant: str) -> str:
    figure = figures.figure(service, scenario, variant)
    if figure is None:
        return "-"
    if not figure.seconds:
        return "failed"
    text = f"{figure.median:.2f}"
    compared = variant != "standard" and scenario != NOTHING
    share = figures.ratio(service, scenario, variant, "standard") if compared else None
    if share is not None:
        own = figures.median(service, scenario, "standard") is not None
        mark = "" if own or not stands_for(service, scenario, "standard") else "= "
        text += f" ({mark}{share:.1%})"
    return text + (f", {figure.failed} failed" if figure.failed else "")


def _targets(judged: Sequence[Judged]) -> str:
    def row(each: Judged) -> list[str]:
        target = each.target
        count = f"{each.samples}" if each.samples else ""
        return [
            target.service,
            BY_NAME[target.scenario].title,
            target.variant,
            each.limit.text,
            _seconds(each.seconds),
            count,
            _seconds(each.allowed),
            str(each.verdict) if each.verdict is not Verdict.MISSED else f"**{each.verdict}**",
        ]

    head = ["service", "change", "column", "target", "median", "samples", "at most", "verdict"]
    return grid(head, map(row, judged))


def _summary(judged: Sequence[Judged]) -> str:
    verdicts = [verdict_of(tuple(limits)) for _, limits in groupby(judged, key=lambda each: each.target)]
    counted = ", ".join(f"{verdicts.count(each)} {each}" for each in Verdict)
    return f"Of {len(verdicts)} targets: {counted}."


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
