"""When a burst of changes is at rest."""

from __future__ import annotations

import pytest

from kiro_invoke.changes.debounce import Batch, gathered

QUIET, CAP = 0.05, 0.5


def batch(*times: float) -> Batch:
    found: Batch | None = None
    for time in times:
        found = gathered(found, [f"/p{time}"], time)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("times", "due"),
    [
        ((10.0,), 10.05),
        ((10.0, 10.04), 10.09),
        ((10.0, 10.04, 10.3), 10.35),
        ((10.0, 10.4, 10.49), 10.5),  # the cap
        ((10.0, 12.0), 10.5),
    ],
)
def test_it_is_due_when_it_rests_and_at_the_cap_at_the_latest(times: tuple[float, ...], due: float) -> None:
    assert batch(*times).due(QUIET, CAP) == pytest.approx(due)


def test_it_holds_all_paths_and_the_first_reason_to_look_at_everything() -> None:
    first = gathered(None, ["/a"], 1.0)
    second = gathered(first, ["/b", "/a"], 2.0, whole=True, why="an overflow")
    third = gathered(second, [], 3.0, why="another")
    assert first == Batch(1.0, 1.0, frozenset({"/a"}))
    assert third == Batch(1.0, 3.0, frozenset({"/a", "/b"}), True, "an overflow")
