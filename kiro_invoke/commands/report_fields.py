"""The JSON object of `report`: schemas/report.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kiro_invoke.commands.report_words import moment
from kiro_invoke.metrics.causes import Invalidation
from kiro_invoke.metrics.entry import Group, Window, Wrong
from kiro_invoke.metrics.regressions import Regression
from kiro_invoke.metrics.report import Report, ServiceReport
from kiro_invoke.metrics.statistics import Bar, Growth, Hits

#: Lists that grow with the history are cut; a count beside them tells of how many.
_INVALIDATIONS, _WRONG = 100, 100


def fields(report: Report, window: Window) -> Mapping[str, Any]:
    """What a report tells, for programs: seconds, bytes, shares of 0 to 1, times in UTC."""
    return {
        "window": {
            "after": moment(window.after) if window.after else None,
            "last": window.last,
            "first": None if report.first is None else moment(report.first),
            "latest": None if report.latest is None else moment(report.latest),
        },
        "recorded": report.recorded,
        "builds": report.builds,
        "failed": report.failed,
        **_hits(report.hits),
        "source_median": _rounded(report.source),
        "stage_builds": report.stage_builds,
        "services": [_service(each) for each in report.services],
        "cache": {
            "layers": _growth(report.cache.layers),
            "mounts": _growth(report.cache.mounts),
            "total": _growth(report.cache.total),
        },
        "invalidation_count": len(report.invalidations),
        "invalidations": [_invalidation(each) for each in report.invalidations[:_INVALIDATIONS]],
        "regressions": [_regression(each) for each in report.judged.regressions],
        "predictions_checked": report.checked,
        "wrong_prediction_count": len(report.wrong),
        "wrong_predictions": [_wrong(each) for each in report.wrong[:_WRONG]],
        "measurements": [_bar(each) for each in report.bars],
    }


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)


def _group(group: Group) -> dict[str, Any]:
    return {"kind": group.kind, "way": group.way, "profile": group.profile}


def _hits(hits: Hits) -> dict[str, Any]:
    return {"hits": hits.hits, "misses": hits.misses, "hit_ratio": _rounded(hits.ratio, 4)}


def _service(service: ServiceReport) -> dict[str, Any]:
    return {
        "name": service.name,
        "builds": service.builds,
        "failed": service.failed,
        **_hits(service.hits),
        "predictions_checked": service.checked,
        "wrong_prediction_count": service.wrong,
        "kinds": [
            {
                **_group(each.group),
                "count": each.count,
                "median": _rounded(each.median),
                "p90": _rounded(each.p90),
            }
            for each in service.kinds
        ],
        "stages": [
            {"name": each.stage, "count": each.count, "median": _rounded(each.median)}
            for each in service.stages
        ],
    }


def _growth(growth: Growth | None) -> dict[str, int] | None:
    if growth is None:
        return None
    return {"first": growth.first, "last": growth.last, "change": growth.change}


def _invalidation(each: Invalidation) -> dict[str, Any]:
    return {
        "service": each.service,
        "kind": each.kind,
        "file": each.file,
        "cause": each.cause,
        "causes": each.causes,
        "times": each.times,
        "seconds_lost": _rounded(each.lost),
    }


def _regression(each: Regression) -> dict[str, Any]:
    return {
        "service": each.group.service,
        **_group(each.group),
        "from": _rounded(each.before),
        "to": _rounded(each.now),
        "percent": _rounded(each.percent, 1),
        "earlier": each.earlier,
        "recent": each.recent,
        "spread": _rounded(each.spread),
        "since": moment(each.since),
    }


def _wrong(each: Wrong) -> dict[str, Any]:
    return {
        "began": moment(each.began),
        "service": each.service,
        "profile": each.profile,
        "kind": each.kind,
        "file": each.file,
        "cause": each.cause,
        "predicted": each.predicted,
        "verdict": each.verdict,
    }


def _bar(each: Bar) -> dict[str, Any]:
    return {
        "service": each.service,
        "scenario": each.scenario,
        "variant": each.variant,
        "median": _rounded(each.median),
        "samples": each.samples,
        "at": moment(each.at),
    }
