"""A report as JUnit's XML: what got slower, and what was predicted wrongly, are failed tests. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from xml.etree import ElementTree

from kiro_invoke.commands.report_words import slower, when
from kiro_invoke.metrics.report import Report
from kiro_invoke.plain import xml_text

_MOST_WRONG = 100

#: A test: its class, its name, and why it failed ("" where it passed).
_Case = tuple[str, str, str]


def junit(report: Report, zone: tzinfo | None) -> str:
    """One suite: a test for each group of builds that could be judged, one for each wrong prediction."""
    cases = [*_regressions(report), *_predictions(report, zone)]
    failed = sum(bool(why) for _, _, why in cases)
    suite = ElementTree.Element(
        "testsuite", name="kiro report", tests=str(len(cases)), failures=str(failed), errors="0", skipped="0"
    )
    for place, name, why in cases:
        case = ElementTree.SubElement(suite, "testcase", classname=xml_text(place), name=xml_text(name))
        if why:
            failure = ElementTree.SubElement(case, "failure", message=xml_text(why))
            failure.text = xml_text(why)
    ElementTree.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def _regressions(report: Report) -> Iterator[_Case]:
    found = {each.group: slower(each) for each in report.judged.regressions}
    for group in report.judged.groups:
        yield f"regressions.{group.service}", group.title, found.get(group, "")


def _predictions(report: Report, zone: tzinfo | None) -> Iterator[_Case]:
    for service in report.services:
        if service.checked and not service.wrong:
            yield f"predictions.{service.name}", f"{service.checked} predictions", ""
    for each in report.wrong[:_MOST_WRONG]:
        why = f"predicted {each.predicted}, the engine said {each.verdict}: {each.file} {each.cause}"
        yield f"predictions.{each.service}", f"{each.kind} {when(each.began, zone)}", why
