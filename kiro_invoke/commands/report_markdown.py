"""A report as Markdown, for a pull request's comment. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import tzinfo

from kiro_invoke.commands.report_words import change, nothing, seconds, share, slower, when
from kiro_invoke.metrics.report import Report
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.plain import clean

_LONGEST, _ROWS = 160, 15
_SPECIAL = re.compile(r"[^\w ./:,=+-]|_")


def markdown(report: Report, zone: tzinfo | None) -> str:
    """The whole report. `zone` None is the machine's own."""
    return "\n\n".join(_parts(report, zone)) + "\n"


def verbatim(text: str) -> str:
    """Text that somebody else wrote, as code: no markup, no link, no mention, and on one line."""
    words = " ".join(clean(text).split())
    short = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    return f"<code>{_SPECIAL.sub(lambda match: f'&#{ord(match[0])};', short)}</code>" if short else ""


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """A table; its last `right` columns hold figures."""
    rule = [*["---"] * (len(head) - right), *["---:"] * right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *rows))


def _parts(report: Report, zone: tzinfo | None) -> Iterator[str]:
    yield "# Builds"
    if report.first is None or report.latest is None:
        yield nothing(report)
    else:
        yield (
            f"{report.builds:,} builds, {report.failed:,} failed, {when(report.first, zone)} to "
            f"{when(report.latest, zone)}. Cache hits: {share(report.hits.ratio)}."
        )
        yield from _times(report)
        yield from _cache(report)
        yield from _causes(report)
        yield from _regressions(report)
        yield from _predictions(report, zone)
    yield from _measured(report)


def _times(report: Report) -> Iterator[str]:
    yield "## Build times"
    yield grid(
        ["service", "after", "builds", "median", "p90"],
        (
            [
                verbatim(service.name),
                verbatim(each.group.title),
                f"{each.count:,}",
                seconds(each.median),
                seconds(each.p90),
            ]
            for service in report.services
            for each in service.kinds
        ),
        right=3,
    )
    stages = [stage for service in report.services for stage in service.stages]
    if stages:
        of = f", of the last {report.stage_builds:,} builds" if report.stage_builds else ""
        yield f"## Stages\n\nMedians of the builds in which they ran{of}."
        yield grid(
            ["service", "stage", "builds", "median"],
            (
                [verbatim(s.service), verbatim(s.stage), f"{s.count:,}", seconds(s.median)]
                for s in stages[:_ROWS]
            ),
            right=2,
        )


def _cache(report: Report) -> Iterator[str]:
    yield "## Cache"
    yield grid(
        ["service", "steps from the cache", "steps that ran", "hits"],
        (
            [verbatim(s.name), f"{s.hits.hits:,}", f"{s.hits.misses:,}", share(s.hits.ratio)]
            for s in report.services
        ),
        right=3,
    )
    cache = report.cache
    sizes = [("layers", cache.layers), ("mounts", cache.mounts), ("total", cache.total)]
    known = [(name, growth) for name, growth in sizes if growth is not None]
    if known:
        yield grid(
            ["size", "first", "last", "change"],
            ([name, told_bytes(g.first), told_bytes(g.last), change(g.change)] for name, g in known),
            right=3,
        )


def _causes(report: Report) -> Iterator[str]:
    if report.invalidations:
        yield "## What had most built again"
        yield grid(
            ["service", "kind", "file", "cause", "times", "time lost"],
            (
                [
                    verbatim(e.service),
                    verbatim(e.kind),
                    verbatim(e.file),
                    verbatim(e.cause),
                    f"{e.times:,}",
                    seconds(e.lost),
                ]
                for e in report.invalidations[:_ROWS]
            ),
            right=2,
        )


def _regressions(report: Report) -> Iterator[str]:
    found, judged = report.judged.regressions, report.judged.groups
    yield "## Got slower"
    if not found:
        yield "Nothing." if judged else "Not known: too few builds of a kind."
    else:
        yield "\n".join(
            f"- {verbatim(f'{e.group.service} {e.group.title}')} {slower(e).replace('->', 'to')}"
            for e in found
        )


def _predictions(report: Report, zone: tzinfo | None) -> Iterator[str]:
    if report.checked:
        yield f"## Wrong predictions\n\n{len(report.wrong):,} of {report.checked:,}."
    if report.wrong:
        yield grid(
            ["when", "service", "file", "cause", "predicted", "verdict"],
            (
                [when(e.began, zone), *map(verbatim, (e.service, e.file, e.cause, e.predicted, e.verdict))]
                for e in report.wrong[:_ROWS]
            ),
        )


def _measured(report: Report) -> Iterator[str]:
    if report.bars:
        yield "## Standard against fast"
        yield grid(
            ["service", "scenario", "variant", "samples", "median"],
            (
                [*map(verbatim, (b.service, b.scenario, b.variant)), str(b.samples), seconds(b.median)]
                for b in report.bars
            ),
            right=2,
        )
