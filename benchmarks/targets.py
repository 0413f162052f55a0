"""The targets that the fast Dockerfiles are held to, and whether a run's figures keep them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.figures import Figures
from benchmarks.scenarios import LIBRARY, NOTHING, SOURCE
from benchmarks.variants import BACKEND, FRONTEND

#: "As a source edit" allows for this much noise between two rows of equal cost.
_NOISE_FACTOR, _NOISE_SECONDS = 1.1, 0.2


class Verdict(StrEnum):
    """What became of a target. Nothing that was not measured counts as met."""

    MET = "met"
    MISSED = "missed"
    UNMEASURED = "not measured"


@dataclass(frozen=True)
class Limit:
    """At most `factor` times the median of a variant in a scenario, plus seconds.

    Without a scenario: in the same one. Without a variant: just the seconds.
    """

    text: str
    variant: str | None = None
    scenario: str | None = None
    factor: float = 1.0
    plus: float = 0.0


@dataclass(frozen=True)
class Target:
    service: str
    scenario: str
    variant: str
    limits: tuple[Limit, ...]


@dataclass(frozen=True)
class Judged:
    """One limit, judged: the median, how many samples made it, and what it may be at most."""

    target: Target
    limit: Limit
    verdict: Verdict
    seconds: float | None
    samples: int
    allowed: float | None


def _seconds(most: float) -> Limit:
    return Limit(f"<= {most:g} s", plus=most)


def _of_standard(share: float) -> Limit:
    return Limit(f"<= {share:.3g} of standard".replace("0.", ".", 1), "standard", factor=share)


def _as_edit(variant: str, scenario: str = SOURCE, *, plus: float = _NOISE_SECONDS, text: str = "") -> Limit:
    words = text or ("as a source edit" if scenario == SOURCE else "as a source edit of the library")
    return Limit(words, variant, scenario, _NOISE_FACTOR if not text else 1.0, plus)


def _backend() -> Iterator[Target]:
    def target(scenario: str, variant: str, *limits: Limit) -> Target:
        return Target(BACKEND, scenario, variant, limits)

    for variant in ("fast", "prod"):
        yield target(NOTHING, variant, _seconds(0.6))
    for scenario in (SOURCE, LIBRARY):
        yield target(
            scenario,
            "fast",
            _of_standard(0.025),
            Limit("<= native + 1.2 s", "native", plus=1.2),
            Limit("<= 0.7 of the guide's recipe", "guide-debug", factor=0.7),
        )
        yield target(scenario, "prod", _of_standard(0.25), Limit("<= the guide's recipe", "guide"))
    yield target("dependency", "fast", _of_standard(0.06), Limit("<= the guide's recipe", "guide-debug"))
    yield target("dependency", "prod", _of_standard(0.3))
    for variant in ("fast", "prod"):
        yield target("version", variant, _as_edit(variant, LIBRARY))
        yield target("comment", variant, _as_edit(variant))
    yield target("layers-lost", "fast", _of_standard(0.2))
    yield target("layers-lost", "prod", _of_standard(0.3))
    yield target("mounts-lost", "fast", _as_edit("fast", plus=2.0, text="<= a source edit + 2 s"))
    yield target("mounts-lost", "prod", _as_edit("prod", LIBRARY))
    yield target("cold", "fast", _of_standard(0.75))
    yield target("cold", "prod", _seconds(300))


def _frontend() -> Iterator[Target]:
    rows = {
        NOTHING: _seconds(0.6),
        SOURCE: _of_standard(0.3),
        "dependency": _of_standard(0.5),
        "version": _as_edit("fast"),
        "comment": _as_edit("fast"),
        "script": _as_edit("fast"),
        "layers-lost": _of_standard(0.6),
        "mounts-lost": _as_edit("fast"),
        "cold": _of_standard(1.0),
    }
    for scenario, limit in rows.items():
        yield Target(FRONTEND, scenario, "fast", (limit,))


TARGETS = (*_backend(), *_frontend())


def judge(figures: Figures, targets: tuple[Target, ...] = TARGETS) -> tuple[Judged, ...]:
    """Every limit of every target against the figures of one run."""
    return tuple(_judge(figures, target, limit) for target in targets for limit in target.limits)


def verdict_of(limits: tuple[Judged, ...]) -> Verdict:
    """What several limits come to: missed if one is, met only if all are."""
    found = {each.verdict for each in limits}
    return next(v for v in (Verdict.MISSED, Verdict.UNMEASURED, Verdict.MET) if v in found)


def _judge(figures: Figures, target: Target, limit: Limit) -> Judged:
    figure = figures.figure(target.service, target.scenario, target.variant)
    count = len(figure.seconds) if figure else 0
    seconds = figure.median if figure and count else None
    allowed = _allowed(figures, target, limit)
    if seconds is None or allowed is None:
        return Judged(target, limit, Verdict.UNMEASURED, seconds, count, allowed)
    verdict = Verdict.MET if seconds <= allowed else Verdict.MISSED
    return Judged(target, limit, verdict, seconds, count, allowed)


def _allowed(figures: Figures, target: Target, limit: Limit) -> float | None:
    if limit.variant is None:
        return limit.plus
    of = figures.reference(target.service, limit.scenario or target.scenario, limit.variant)
    return None if of is None else limit.factor * of + limit.plus
