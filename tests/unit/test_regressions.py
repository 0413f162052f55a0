"""Builds that got slower are found, and noise is not taken for it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro_invoke.metrics.entry import Group, Timed
from kiro_invoke.metrics.regressions import FEWEST, Regression, judge

GROUP = Group("web", "dev", "image", "SOURCE")


def found(*seconds: float, group: Group = GROUP) -> tuple[Regression, ...]:
    times = [Timed(100.0 + number, value, number) for number, value in enumerate(seconds)]
    return tuple(judge({group: times}).regressions)


# --- by hand


def test_a_planted_one_is_told_with_all_that_matters() -> None:
    # of 20 builds a quarter is recent; most of all 20 are 0.1 from their median: 1.4826 x 0.1
    before = [1.9, 2.0, 2.1] * 5
    (one,) = found(*before, 3.0, 3.1, 2.9, 3.0, 3.2)
    assert (one.group, one.before, one.now, one.earlier, one.recent) == (GROUP, 2.0, 3.0, 15, 5)
    assert one.since == 115.0
    assert one.spread == pytest.approx(0.14826)
    assert one.percent == pytest.approx(50.0)


def test_all_equal_is_no_regression() -> None:
    assert found(*[2.0] * 40) == ()


def test_equal_ones_before_have_no_spread_and_that_is_no_trouble() -> None:
    (one,) = found(*[2.0] * 30, *[3.0] * 10)
    assert (one.before, one.now, one.spread) == (2.0, 3.0, 0.0)
    (free,) = found(*[0.0] * 30, *[3.0] * 10)
    assert free.percent is None


@pytest.mark.parametrize("count", [1, 2, FEWEST - 1])
def test_few_samples_are_not_judged(count: int) -> None:
    some = [Timed(float(number), 1.0 + 99.0 * (number > count // 2), number) for number in range(count)]
    judged = judge({GROUP: some})
    assert (judged.groups, judged.regressions) == ((), ())


def test_twenty_are_enough() -> None:
    assert len(found(*[2.0] * 15, *[4.0] * 5)) == 1


def test_builds_of_no_known_kind_cannot_be_compared() -> None:
    assert found(*[2.0] * 30, *[9.0] * 10, group=GROUP._replace(kind="")) == ()


def test_faster_is_no_regression() -> None:
    assert found(*[4.0] * 30, *[2.0] * 10) == ()


def test_a_few_slow_builds_are_none() -> None:
    assert found(*[2.0] * 36, 9.0, 9.0, 9.0, 9.0) == ()


def test_outliers_before_do_not_hide_one() -> None:
    before = [2.0, 2.1, 1.9, 2.0, 60.0] * 8
    assert len(found(*before, *[3.1] * 10)) == 1


def test_fractions_of_a_second_are_not_told() -> None:
    assert found(*[0.1] * 30, *[0.2] * 10) == ()


def test_what_was_as_slow_in_a_quarter_of_the_builds_is_not_new() -> None:
    """Edits of one part take 2 s, of another one 5 s: ten of the other in a row are no regression."""
    before = [2.0, 2.0, 5.0, 2.0, 5.0, 2.0] * 6
    assert found(*before, *[5.0] * 10) == ()


def test_what_was_usual_long_ago_does_not_count() -> None:
    assert found(*[1.0] * 500, *[4.0] * 110) == ()


def test_the_worst_comes_first() -> None:
    def times(before: float, now: float) -> list[Timed]:
        values = [before] * 30 + [now] * 10
        return [Timed(float(number), value, number) for number, value in enumerate(values)]

    other = GROUP._replace(kind="BASE")
    judged = judge(
        {GROUP: times(2.0, 4.0), other: times(60.0, 90.0), GROUP._replace(way="live"): times(1.0, 1.0)}
    )
    assert [each.group for each in judged.regressions] == [other, GROUP]
    assert len(judged.groups) == 3


# --- whatever the noise

near = st.floats(0.95, 1.05)


@given(
    usual=st.floats(0.6, 500.0),
    before=st.lists(near, min_size=15, max_size=80),
    after=st.lists(near, min_size=10, max_size=10),
)
def test_half_as_much_again_is_always_found(usual: float, before: list[float], after: list[float]) -> None:
    """However builds within 5 percent of the usual time fall."""
    recent = min(max((len(before) + len(after)) // 4, 5), 10)
    slow = [1.5 * usual * value for value in after[:recent]]
    assert len(found(*(usual * value for value in before), *slow)) == 1


@given(usual=st.floats(0.01, 1000.0), noise=st.lists(st.floats(0.9, 1.1), min_size=1, max_size=120))
def test_within_ten_percent_nothing_is_ever_found(usual: float, noise: list[float]) -> None:
    assert found(*(usual * value for value in noise)) == ()


@given(seed=st.integers(0, 2**32), width=st.floats(0.0, 0.25), count=st.integers(40, 400))
def test_no_wolf_is_cried_on_noise(seed: int, width: float, count: int) -> None:
    dice = random.Random(seed)
    assert found(*(3.0 * dice.lognormvariate(0.0, width) for _ in range(count))) == ()


def test_no_wolf_is_cried_on_wide_noise() -> None:
    """As often as once in two thousand, where builds take half as long or twice as long as usual by mere chance."""
    dice = random.Random(1)
    cried = [found(*(3.0 * dice.lognormvariate(0.0, 0.4) for _ in range(60))) for _ in range(2000)]
    assert sum(map(bool, cried)) <= 1


@given(seed=st.integers(0, 2**32))
def test_half_as_much_again_is_found_in_usual_noise(seed: int) -> None:
    dice = random.Random(seed)
    values = [3.0 * dice.lognormvariate(0.0, 0.06) * (1.5 if number >= 90 else 1.0) for number in range(100)]
    assert len(found(*values)) == 1
