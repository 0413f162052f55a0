"""A report as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import tzinfo
from itertools import groupby

from kiro_invoke.commands.report_words import change, nothing, seconds, share, slower, when
from kiro_invoke.metrics.causes import Invalidation
from kiro_invoke.metrics.regressions import FEWEST
from kiro_invoke.metrics.report import Report, ServiceReport
from kiro_invoke.metrics.statistics import Bar, CacheGrowth, Growth
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.plain import clean

#: A line's texts, some with a style (see Paper.line).
Line = tuple[str | tuple[str, str], ...]
_STAGES, _INVALIDATIONS, _WRONG = 6, 8, 5


def lines(report: Report, zone: tzinfo | None) -> Iterator[Line]:
    """What a person wants to know first, in some forty lines. `zone` None is the machine's own.

    Names and causes cannot control a terminal, nor begin a line.
    """
    for line in _lines(report, zone):
        yield tuple(_held(part) if isinstance(part, str) else (_held(part[0]), part[1]) for part in line)


def _held(text: str) -> str:
    return clean(text).replace("\n", " ")


def _lines(report: Report, zone: tzinfo | None) -> Iterator[Line]:
    if report.first is None or report.latest is None:
        yield (nothing(report),)
    else:
        failed = f", {report.failed:,} failed" if report.failed else ""
        span = f"{when(report.first, zone)} to {when(report.latest, zone)}"
        yield ((f"{_count(report.builds, 'build')}{failed}", "bold"), f"  {span}")
        for service in report.services:
            yield from _service(service, report.stage_builds)
        yield from _cache(report.cache)
        yield from _invalidations(report.invalidations)
        yield from _regressions(report)
        yield from _predictions(report, zone)
    yield from _bars(report.bars, zone)


def text(report: Report, zone: tzinfo | None) -> str:
    """The lines without their styles, for a file."""
    plain = (
        "".join(part if isinstance(part, str) else part[0] for part in line) for line in lines(report, zone)
    )
    return "\n".join(plain) + "\n"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _service(service: ServiceReport, stage_builds: int | None) -> Iterator[Line]:
    failed = f", {service.failed:,} failed" if service.failed else ""
    yield ("",)
    yield ((service.name or "(no service)", "bold"), f"  {_count(service.builds, 'build')}{failed}")
    if service.kinds:
        yield (f"  {'after':<24} {'builds':>8} {'median':>12} {'p90':>12}",)
    for each in service.kinds:
        row = f"{each.count:>8,} {seconds(each.median):>12} {seconds(each.p90):>12}"
        yield (f"  {each.group.title:<24} {row}",)
    if service.hits.ratio is not None:
        total = service.hits.hits + service.hits.misses
        yield (f"  cache hits  {share(service.hits.ratio)} of {total:,} steps",)
    if service.stages:
        slowest = ", ".join(f"{each.stage} {seconds(each.median)}" for each in service.stages[:_STAGES])
        of = f" (medians, of the last {stage_builds:,} builds)" if stage_builds else " (medians)"
        yield (f"  slowest stages  {slowest}{of}",)


def _cache(cache: CacheGrowth) -> Iterator[Line]:
    parts = (("total", cache.total), ("layers", cache.layers), ("mounts", cache.mounts))
    told = [f"{name} {_grown(growth)}" for name, growth in parts if growth is not None]
    if told:
        yield ("",)
        yield (("cache", "bold"), f"  of the whole engine: {', '.join(told)}")


def _grown(growth: Growth) -> str:
    return f"{told_bytes(growth.last)} ({change(growth.change)})"


def _invalidations(found: Sequence[Invalidation]) -> Iterator[Line]:
    if not found:
        return
    yield ("",)
    yield (("what had most built again", "bold"), "  seconds over a build in which nothing changed")
    for each in found[:_INVALIDATIONS]:
        more = f" (and {each.causes - 1:,} other causes)" if each.causes > 1 else ""
        place = f"{each.file}: " if each.file and not each.cause.startswith(each.file) else ""
        yield (
            f"  {seconds(each.lost):>12} {each.times:>7,}x  {each.service}  {each.kind}  {place}{each.cause}{more}",
        )
    if len(found) > _INVALIDATIONS:
        yield (f"  and {len(found) - _INVALIDATIONS:,} more",)


def _regressions(report: Report) -> Iterator[Line]:
    yield ("",)
    judged = report.judged
    if judged.regressions:
        yield (("got slower", "bold"),)
        for each in judged.regressions:
            yield ("  ", (f"{each.group.service} {each.group.title}", "yellow"), f"  {slower(each)}")
    elif judged.groups:
        yield (("got slower", "bold"), "  nothing")
    else:
        yield (("got slower", "bold"), f"  not known: too few builds of a kind ({FEWEST} are needed)")


def _predictions(report: Report, zone: tzinfo | None) -> Iterator[Line]:
    if not report.checked:
        return
    yield (("wrong predictions", "bold"), f"  {len(report.wrong):,} of {report.checked:,}")
    for each in report.wrong[:_WRONG]:
        said = f"the dependency layer was to be {_word(each.predicted)}, and was {_word(each.verdict)}"
        yield (f"  {when(each.began, zone)}  {each.service} {each.kind}  {each.cause or each.file}: {said}",)


def _word(verdict: str) -> str:
    return {"cached": "cached", "ran": "built"}.get(verdict, verdict)


def _bars(bars: Sequence[Bar], zone: tzinfo | None) -> Iterator[Line]:
    if not bars:
        return
    yield ("",)
    yield (("measured", "bold"), f"  medians, {when(max(bar.at for bar in bars), zone)}")
    for service, own in groupby(bars, key=lambda bar: bar.service):
        for scenario, some in groupby(own, key=lambda bar: bar.scenario):
            told = ", ".join(f"{bar.variant} {seconds(bar.median)}" for bar in some)
            yield (f"  {service} {scenario}  {told}",)
