"""Figures for Plotly, as plain values. Pure.

Plotly reads some HTML in texts: whatever somebody else wrote goes through `label`. What a scheme (light, dark) colours
is left to the page, but for kinds and variants, which have the same colours in both.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from itertools import groupby, pairwise
from typing import Any

from kiro_invoke.metrics.details import Caused, HitsOver, Waterfall
from kiro_invoke.metrics.entry import LIVE, CacheSize, Group, Timed
from kiro_invoke.metrics.statistics import Bar, median, seconds_of
from kiro_invoke.model.record import Step

Figure = dict[str, Any]
Causes = Mapping[tuple[int, str], Caused]

#: Told apart also by who sees fewer colours, on a white and on a dark ground.
COLOURS = {
    "IGNORED": "#8a94a6",
    "SOURCE": "#3b82f6",
    "DEPENDENCY": "#e58e0a",
    "BASE": "#e0457b",
    "CONFIG": "#8b5cf6",
    "": "#64748b",
}
_SERIES = ("#3b82f6", "#e58e0a", "#10a37f", "#8b5cf6", "#e0457b", "#0ea5b7", "#9a7b4f", "#64748b")
_VARIANTS = {
    "standard": "#8a94a6",
    "standard-dev": "#64748b",
    "prod": "#8b5cf6",
    "fast": "#10a37f",
    "live": "#3b82f6",
}
_LONGEST, _WIDTH, _LONGEST_NAME = 160, 60, 32
#: A scale by powers shows builds of seconds beside builds of minutes.
_LOG_FROM = 15.0
_MEDIANS, _FEWEST_FOR_MEDIANS = 40, 20
_MOST_STAGES, _MOST_STEPS = 60, 5


def label(text: str) -> str:
    """Text as it is, for Plotly: short, printable, on lines of a bounded width."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    short = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    parts = (short[start : start + _WIDTH] for start in range(0, len(short), _WIDTH))
    return "<br>".join(map(html.escape, parts))


def thinned(times: Sequence[Timed], most: int) -> list[Timed]:
    """At most so many (some at least): an even sample, which looks as all would, and the slowest of each stretch."""
    if len(times) <= most:
        return list(times)
    stretches = most // 5 + 1
    kept = set(times[:: -(-len(times) // max(most - stretches, 1))])
    for number in range(stretches):
        begin, end = (len(times) * (number + step) // stretches for step in (0, 1))
        kept.add(max(times[begin:end], key=lambda each: each.seconds))
    return sorted(kept)


def build_times(drawn: Mapping[Group, Sequence[Timed]], causes: Causes, zone: tzinfo | None) -> Figure:
    """Each build of one service as a point, coloured by kind; its customdata is the build."""
    shown = {group: some for group, some in drawn.items() if some}
    seconds = [each.seconds for some in shown.values() for each in some if each.seconds > 0]
    scale = "log" if seconds and max(seconds) > _LOG_FROM * min(seconds) else "linear"
    traces = [_points(group, some, causes, zone) for group, some in shown.items()]
    axis: Figure = {"type": scale, "ticksuffix": " s", "rangemode": "tozero"}
    if scale == "log":
        axis |= {"dtick": 1, "minor": {"dtick": "D1"}, "tickformat": "~g"}
    return {"data": traces, "layout": {"yaxis": axis, "hovermode": "closest"}}


def medians(times: Mapping[Group, Sequence[Timed]], zone: tzinfo | None) -> list[Figure]:
    """A line through the medians of equally many builds each, for every group that has enough of them."""
    lines = []
    for group, some in times.items():
        if len(some) < _FEWEST_FOR_MEDIANS:
            continue
        count = min(_MEDIANS, len(some) // 5)
        cuts = [len(some) * number // count for number in range(count + 1)]
        parts = [some[begin:end] for begin, end in pairwise(cuts)]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "legendgroup": label(group.title),
                "showlegend": False,
                "hoverinfo": "skip",
                "x": [_at(part[len(part) // 2].began, zone) for part in parts],
                "y": [round(median(seconds_of(part)), 3) for part in parts],
                "line": {"color": _colour(group), "width": 2, "shape": "spline", "smoothing": 0.6},
            }
        )
    return lines


def hit_ratio(hits: Sequence[HitsOver], zone: tzinfo | None) -> Figure:
    """The share of steps that came from the cache, a line for each service."""
    traces = []
    for number, (service, some) in enumerate(groupby(hits, key=lambda each: each.service)):
        own = list(some)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": label(service),
                "x": [_at(each.began, zone) for each in own],
                "y": [round(each.hits / (each.hits + each.misses), 4) for each in own],
                "text": [f"{each.hits:,} of {each.hits + each.misses:,} steps" for each in own],
                "hovertemplate": "%{y:.1%}<br>%{text}",
                "line": {"color": _SERIES[number % len(_SERIES)], "width": 2},
                "marker": {"size": 5},
            }
        )
    axis = {"tickformat": ".0%", "range": [0, 1.03]}
    return {"data": traces, "layout": {"yaxis": axis, "hovermode": "x unified"}}


def cache_growth(sizes: Sequence[CacheSize], zone: tzinfo | None) -> Figure:
    """The cache's size as areas on top of each other."""
    times = [_at(each.began, zone) for each in sizes]
    parts = (
        ("layers", [each.layers for each in sizes], "#3b82f6"),
        ("mounts", [each.mounts for each in sizes], "#10a37f"),
    )
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": times,
            "y": values,
            "stackgroup": "size",
            "line": {"color": colour, "width": 1.5},
            "hovertemplate": "%{y:.3s}B",
        }
        for name, values, colour in parts
        if any(value is not None for value in values)
    ]
    axis = {"tickformat": "~s", "ticksuffix": "B", "rangemode": "tozero"}
    return {"data": traces, "layout": {"yaxis": axis, "hovermode": "x unified"}}


def standard_against_fast(bars: Iterable[Bar]) -> Figure:
    """One service's measurements: scenarios side by side, a bar for each variant."""
    by_variant: dict[str, list[Bar]] = {}
    for bar in bars:
        by_variant.setdefault(bar.variant, []).append(bar)
    order = [*_VARIANTS, *by_variant]
    traces = [
        {
            "type": "bar",
            "name": label(variant),
            "x": [label(bar.scenario) for bar in by_variant[variant]],
            "y": [round(bar.median, 3) for bar in by_variant[variant]],
            "text": [_seconds(bar.median) for bar in by_variant[variant]],
            "textposition": "outside",
            "cliponaxis": False,
            "hovertemplate": "%{y:.2f} s",
            "marker": {"color": _VARIANTS.get(variant, "#0ea5b7")},
        }
        for variant in sorted(by_variant, key=order.index)
    ]
    axis = {"ticksuffix": " s", "rangemode": "tozero"}
    return {"data": traces, "layout": {"barmode": "group", "yaxis": axis, "xaxis": {"type": "category"}}}


def waterfall(build: Waterfall) -> Figure:
    """When the stages of a build ran, in seconds from its first step on; those from the cache are marks at 0."""
    began = min((step.started for step in build.steps if not step.cached and step.started), default=0.0)
    stages: dict[tuple[str, str], list[Step]] = {}
    for step in build.steps:
        stages.setdefault((step.service, step.stage), []).append(step)
    ran = {place: some for place, some in stages.items() if not all(step.cached for step in some)}
    idle = [place for place in stages if place not in ran]
    shown = list(ran)[:_MOST_STAGES]
    names = [*map(_place, shown), *map(_place, idle[: _MOST_STAGES - len(shown)])]
    spans = [_span(ran[place], began) for place in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names[: len(shown)],
        "base": [begin for begin, _ in spans],
        "x": [round(end - begin, 3) for begin, end in spans],
        "text": [_seconds(sum(step.seconds for step in ran[place])) for place in shown],
        "hovertext": [_steps_told(ran[place]) for place in shown],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "textposition": "auto",
        "insidetextanchor": "start",
        "insidetextfont": {"color": "#0b1220"},
        "constraintext": "none",
        "cliponaxis": False,
        "marker": {"color": [_service_colour(place[0], stages) for place in shown]},
    }
    marks = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [0] * len(names[len(shown) :]),
        "y": names[len(shown) :],
        "text": ["cached"] * len(names[len(shown) :]),
        "textposition": "middle right",
        "hoverinfo": "skip",
        "marker": {
            "color": "#8a94a6",
            "symbol": "line-ns",
            "size": 9,
            "line": {"width": 2, "color": "#8a94a6"},
        },
        "textfont": {"size": 11, "color": "#8a94a6"},
        "cliponaxis": False,
    }
    layout = {
        "showlegend": False,
        "height": 96 + 26 * len(names),
        "hovermode": "closest",
        "xaxis": {"ticksuffix": " s", "rangemode": "tozero"},
        "yaxis": {
            "autorange": "reversed",
            "type": "category",
            "categoryarray": names,
            "dtick": 1,
            "showgrid": False,
        },
    }
    return {"data": [bars, marks], "layout": layout}


def _points(group: Group, some: Sequence[Timed], causes: Causes, zone: tzinfo | None) -> Figure:
    symbol = "diamond" if group.way == LIVE else "circle" if group.profile in ("", "dev") else "square"
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(group.title),
        "legendgroup": label(group.title),
        "x": [_at(each.began, zone) for each in some],
        "y": [each.seconds for each in some],
        "text": [_told(group, each, causes.get((each.build, group.service))) for each in some],
        "customdata": [each.build for each in some],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": _colour(group), "symbol": symbol, "size": 7, "opacity": 0.5},
    }


def _told(group: Group, timed: Timed, caused: Caused | None) -> str:
    head = f"<b>{_seconds(timed.seconds)}</b>  {label(group.title)}"
    if caused is None or not (caused.cause or caused.file):
        return head
    named = caused.file and caused.file not in caused.cause
    return f"{head}<br>{label(f'{caused.file}: {caused.cause}' if named else caused.cause)}"


def _steps_told(steps: Sequence[Step]) -> str:
    ran = [step for step in steps if not step.cached]
    told = [f"<b>{_seconds(step.seconds)}</b>  {label(step.text)}" for step in ran[:_MOST_STEPS]]
    more = [f"and {len(ran) - _MOST_STEPS} more"] if len(ran) > _MOST_STEPS else []
    return "<br>".join([f"<b>{_place((steps[0].service, steps[0].stage))}</b>", *told, *more])


def _span(steps: Sequence[Step], began: float) -> tuple[float, float]:
    """From when to when its steps ran that did; a step may have no times."""
    ran = [step for step in steps if not step.cached and step.started]
    begin = min((step.started for step in ran), default=began) - began
    end = max((step.completed for step in ran), default=began) - began
    return round(begin, 3), round(max(begin, end), 3)


def _place(place: tuple[str, str]) -> str:
    # beside bars there is little room, least on a phone
    names = (name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in place)
    return label(" · ".join(filter(None, names)) or "engine")


def _service_colour(service: str, stages: Iterable[tuple[str, str]]) -> str:
    services = list(dict.fromkeys(name for name, _ in stages))
    return _SERIES[services.index(service) % len(_SERIES)]


def _colour(group: Group) -> str:
    return COLOURS.get(group.kind, COLOURS[""])


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 1 else f"{value:.1f} s"


def _at(epoch: float, zone: tzinfo | None) -> str:
    return datetime.fromtimestamp(epoch, zone).strftime("%Y-%m-%d %H:%M:%S")
