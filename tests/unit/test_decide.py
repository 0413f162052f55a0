"""What is done for a service, from how it stands: each row is a rule."""

from __future__ import annotations

import pytest

from kiro_invoke.loop.decide import Decision, Standing, Way, decide
from kiro_invoke.model.change import Classification, Kind


def rows(*kinds: Kind) -> tuple[Classification, ...]:
    return tuple(Classification("web", kind, f"web/{kind}", f"{kind} changed".lower()) for kind in kinds)


IGNORED, SOURCE, DEPENDENCY, BASE = Kind.IGNORED, Kind.SOURCE, Kind.DEPENDENCY, Kind.BASE


@pytest.mark.parametrize(
    ("standing", "said"),
    [
        (Standing(), "IGNORED: nothing changed -> nothing"),
        (Standing(rows(IGNORED)), "IGNORED: ignored changed -> nothing"),
        (Standing(rows(SOURCE)), "SOURCE: source changed -> live"),
        (Standing(rows(SOURCE, IGNORED)), "SOURCE: source changed -> live"),
        (Standing(rows(SOURCE, DEPENDENCY)), "DEPENDENCY: dependency changed -> live, image behind"),
        (Standing(rows(SOURCE, BASE, DEPENDENCY)), "BASE: base changed -> image"),
        # live where it can be, else by the image, with the reason
        (
            Standing(rows(SOURCE), unreachable="--no-live"),
            "SOURCE: source changed; not live: --no-live -> image",
        ),
        (
            Standing(rows(DEPENDENCY), gave_up_live="no network"),
            "DEPENDENCY: dependency changed; not live: no network -> image",
        ),
        (Standing(rows(SOURCE), is_known=False), "SOURCE: what its container holds is not known -> image"),
        # what was synced and never built, or never started, is built again
        (
            Standing(is_served=False),
            "SOURCE: what its container holds was not built, or not started -> live",
        ),
        (
            Standing(is_served=False, unreachable="x"),
            "SOURCE: nothing changed; not live: x -> image",
        ),
        # a container that was just started is first seen to serve; then its image may follow
        (Standing(is_confirmed=False, image_is_behind=True), "IGNORED: its container was started -> confirm"),
        (Standing(image_is_behind=True), "DEPENDENCY: its image lacks what runs already -> behind"),
        (Standing(rows(SOURCE), is_confirmed=False), "SOURCE: source changed -> live"),
        # one that does not run is started if that is near what is wanted, else made anew
        (
            Standing(runs=False, image_fits=True, is_known=False),
            "IGNORED: its container does not run -> start",
        ),
        (Standing(rows(SOURCE), runs=False), "SOURCE: source changed -> start"),
        (Standing(rows(SOURCE), runs=False, is_known=False), "SOURCE: source changed -> image"),
        (Standing(rows(BASE), runs=False), "BASE: base changed -> image"),
        # what failed is not tried again, whatever else holds, unless a person asks
        (Standing(rows(SOURCE), rests=True), "SOURCE: source changed -> nothing"),
        (Standing(rows(BASE), runs=False, rests=True), "BASE: base changed -> nothing"),
        (Standing(rests=True, asked=True), "BASE: asked for a new image -> image"),
    ],
)
def test_the_fastest_way_that_is_right(standing: Standing, said: str) -> None:
    assert str(decide(standing)) == said


def test_a_decision_compares() -> None:
    assert decide(Standing(rows(SOURCE))) == Decision(Way.LIVE, SOURCE, "source changed")
