"""How the figures of a report are written, the same in every format for people. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo

from kiro_invoke.metrics.regressions import Regression
from kiro_invoke.metrics.report import Report
from kiro_invoke.model.amounts import told_bytes

NONE_RECORDED = "no build is recorded yet: `kiro build` and `kiro watch` record each build"


def seconds(value: float) -> str:
    """A duration: 0.42 s, 12.3 s, 3 min 20 s, 2 h 5 min."""
    if round(value, 2) < 1:
        return f"{value:.2f} s"
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {rest} s"


def share(ratio: float | None) -> str:
    """A share of 0 to 1 in percent."""
    return "-" if ratio is None else f"{ratio:.1%}"


def change(bytes: int) -> str:
    """A difference of sizes, with its sign."""
    return f"{'-' if bytes < 0 else '+'}{told_bytes(abs(bytes))}"


def when(epoch: float, zone: tzinfo | None) -> str:
    """A time to the minute; `zone` None is the machine's own."""
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M")


def moment(epoch: float) -> str:
    """A time for programs, in UTC."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def slower(regression: Regression) -> str:
    """A regression in one sentence, without its service and kind."""
    percent = "" if regression.percent is None else f" (+{regression.percent:.0f}%)"
    return (
        f"{seconds(regression.before)} -> {seconds(regression.now)}{percent}: the last {regression.recent} builds "
        f"against {regression.earlier} before, which spread by {seconds(regression.spread)}"
    )


def nothing(report: Report) -> str:
    """What is said where there is no build to tell of, and what to do."""
    if not report.recorded:
        return NONE_RECORDED
    return f"no build but measurements in this window, {report.recorded:,} recorded in all"
