"""What came of a run as documents: Markdown and JUnit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

from kiro_invoke.benchmark import machine
from kiro_invoke.benchmark.results import COMMAND, Results, baseline_of, claims, counted, footing, saved
from kiro_invoke.benchmark.samples import Key, Samples
from kiro_invoke.benchmark.scenarios import Scenario, Variant
from kiro_invoke.benchmark.targets import Verdict
from kiro_invoke.plain import clean, xml_text

#: What Markdown would read: markup, links, mentions, the end of a cell.
_MARKUP = re.compile(r"[|<>&@\[\]!`*_~#\\]")


def markdown(results: Results) -> str:
    """Tables that fit a pull request's comment."""
    run = results.run
    parts = [
        f"## Build performance: {results.title}",
        f"{counted(results)}. Medians in seconds on {_cell(machine.words(run.machine))}.",
        *(_service(run.figures, service) for service in run.choice.variants),
        _targets(results),
    ]
    notes = [
        *(
            f"{one.key.service} {one.key.scenario} {one.key.variant} failed: {one.detail}"
            for one in results.failures
        )
    ]
    notes += [*results.noise, *run.unmeasured]
    parts += ["\n".join(f"- {_cell(note)}" for note in notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def junit(results: Results) -> str:
    """A test case for each claim: missed is a failure, not measured is skipped, what failed to build is an error."""
    suite = ET.Element("testsuite", name=f"kiro {COMMAND}")
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for claim in claims(results):
        case = ET.SubElement(suite, "testcase", classname=claim.service, name=claim.text)
        counts["tests"] += 1
        if claim.verdict is Verdict.MISSED:
            counts["failures"] += 1
            ET.SubElement(case, "failure", message=f"{claim.text}: {claim.found}")
        elif claim.verdict is Verdict.UNMEASURED:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", message="not measured")
        else:
            ET.SubElement(case, "system-out").text = claim.found
    for failed in results.failures:
        counts["tests"] += 1
        counts["errors"] += 1
        name = f"{failed.key.scenario} {failed.key.variant} builds"
        case = ET.SubElement(suite, "testcase", classname=failed.key.service, name=name)
        ET.SubElement(case, "error", message=xml_text(failed.detail))
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _service(figures: Samples, service: str) -> str:
    """A service's medians: scenarios down, variants across."""
    keys = [key for key in figures.keys if key.service == service]
    variants = [variant for variant in Variant if any(key.variant is variant for key in keys)]
    scenarios = [scenario for scenario in Scenario if any(key.scenario is scenario for key in keys)]
    rows = [
        [scenario.described, *(_median(figures, Key(service, scenario, variant)) for variant in variants)]
        for scenario in scenarios
    ]
    return f"### {_cell(service)}\n\n{table(['', *map(str, variants)], rows)}" if rows else ""


def _median(figures: Samples, key: Key) -> str:
    figure = figures.figure(key)
    if figure.median is None:
        return "failed" if figure.failed else "-"
    marks = f", {len(figure.outliers)} outlying" if figure.outliers else ""
    few = f" (of {len(figure.seconds)}{marks})"
    return f"{figure.median:.2f}{few}"


def _targets(results: Results) -> str:
    rows = [
        [
            claim.service,
            claim.text,
            claim.found,
            str(claim.verdict).upper() if claim.verdict is Verdict.MISSED else str(claim.verdict),
        ]
        for claim in claims(results)
    ]
    told = [
        [
            one.service,
            f"{one.scenario}: {one.variant} against {baseline_of(one)}",
            saved(one.percent),
            footing(one),
        ]
        for one in results.improved
        if one.target is None and one.percent is not None
    ]
    return table(["service", "claim", "found", "verdict"], [*rows, *told])


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    """A text that stays in its cell, and is shown as it is."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", " ".join(clean(str(text)).split()))
