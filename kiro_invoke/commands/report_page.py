"""A report as one HTML file that asks nothing of any network.

Nothing that somebody else wrote can run in it: the template escapes texts, data is JSON in which no tag can begin or
end, Plotly's texts are escaped for Plotly, and the page's own policy lets its two scripts run and no other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import tzinfo
from importlib import resources
from importlib.resources.abc import Traversable

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from kiro_invoke.commands.report_words import change, nothing, seconds, share, when
from kiro_invoke.metrics import charts
from kiro_invoke.metrics.details import Details
from kiro_invoke.metrics.entry import CacheSize, Group, Timed
from kiro_invoke.metrics.history import History
from kiro_invoke.metrics.regressions import FEWEST
from kiro_invoke.metrics.report import Report
from kiro_invoke.metrics.statistics import place_of
from kiro_invoke.model.amounts import told_bytes
from kiro_invoke.plain import clean

#: So many points are drawn, however many builds there are; each group of builds has some.
_POINTS, _FEWEST_POINTS = 3000, 20
_ROWS = 100
_TEMPLATES = resources.files("kiro_invoke") / "templates"

#: Each service's builds that are drawn.
_Drawn = Mapping[str, Mapping[Group, Sequence[Timed]]]


def page(
    report: Report,
    history: History,
    details_of: Callable[[History, Sequence[int]], Details],
    *,
    title: str,
    zone: tzinfo | None,
) -> str:
    """The whole file. `details_of` reads what only the charts tell; `zone` None is the machine's own."""
    drawn = _drawn(history)
    builds = [each.build for groups in drawn.values() for some in groups.values() for each in some]
    details = details_of(history, builds) if report.builds else Details()
    services = _most_telling_first(report, drawn)
    measured = list(dict.fromkeys(bar.service for bar in report.bars))
    plotly = _script(resources.files("plotly") / "package_data" / "plotly.min.js")
    script = _script(_TEMPLATES / "report.js")
    cache = report.cache
    sizes = (("layers", cache.layers), ("mounts", cache.mounts), ("total", cache.total))
    return _template().render(
        title=title,
        report=report,
        zone=zone,
        nothing=nothing(report),
        rows=_ROWS,
        fewest=FEWEST,
        colours=charts.COLOURS,
        services=services,
        points=len(builds),
        timed=sum(map(len, history.times.values())),
        waterfalls=details.waterfalls,
        stages=[stage for service in report.services for stage in service.stages],
        sizes=[(name, growth) for name, growth in sizes if growth is not None],
        measured=measured,
        measured_at=max((bar.at for bar in report.bars), default=0.0),
        data=_data(
            {
                "times": [_times(drawn[each], history, details, zone) for each in services],
                "waterfalls": {str(each.build): charts.waterfall(each) for each in details.waterfalls},
                "hits": charts.hit_ratio(details.hits, zone),
                "growth": charts.cache_growth(_sizes(history, details), zone),
                "bars": [
                    charts.standard_against_fast(bar for bar in report.bars if bar.service == each)
                    for each in measured
                ],
            }
        ),
        css=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        hashes=Markup(f"{_hash(plotly)} {_hash(script)}"),
        plotly=plotly,
        script=script,
    )


def _drawn(history: History) -> _Drawn:
    services: dict[str, dict[Group, Sequence[Timed]]] = {}
    total = sum(map(len, history.times.values()))
    for group in sorted(history.times, key=place_of):
        some = history.times[group]
        most = max(_POINTS * len(some) // max(total, 1), _FEWEST_POINTS)
        services.setdefault(group.service, {})[group] = charts.thinned(some, most)
    return services


def _most_telling_first(report: Report, drawn: _Drawn) -> list[str]:
    """The services, first the ones that got slower, then the busiest."""
    slower = {each.group.service for each in report.judged.regressions}
    return sorted(drawn, key=lambda name: (name not in slower, -sum(map(len, drawn[name].values())), name))


def _times(
    drawn: Mapping[Group, Sequence[Timed]], history: History, details: Details, zone: tzinfo | None
) -> charts.Figure:
    figure = charts.build_times(drawn, details.causes, zone)
    lines = charts.medians({group: history.times[group] for group in drawn}, zone)
    return {**figure, "data": [*figure["data"], *lines]}


def _sizes(history: History, details: Details) -> list[CacheSize]:
    """Those that are told of in figures are drawn, too."""
    return sorted({*history.sizes, *details.sizes}, key=lambda each: each.began)


def _data(value: object) -> Markup:
    """JSON that is safe between tags: none can begin or end in it."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _script(file: Traversable) -> Markup:
    return Markup(file.read_text(encoding="utf-8"))


def _hash(script: Markup) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _template() -> Template:
    def source(name: str) -> str:
        return (_TEMPLATES / name).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True, loader=FunctionLoader(source), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {
        "seconds": seconds,
        "share": share,
        "size": told_bytes,
        "change": change,
        "when": when,
        "clean": clean,
    }
    return environment.get_template("report.html")
