import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from commons import InputError
from commons.statistics import holm, mean_interval, paired_interval, paired_p_value, wilson

samples = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12)


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(3.0, 2.0, size=4)) for _ in range(4000)]
    covered = sum(i.low <= 3.0 <= i.high for i in intervals)
    assert stats.binomtest(covered, 4000, 0.95).pvalue > 1e-3


@given(samples, st.floats(-10, 10))
def test_intervals_shift_with_their_values(values: list[float], shift: float) -> None:
    before, after = mean_interval(values), mean_interval(np.array(values) + shift)
    assert after.low - before.low == pytest.approx(shift, abs=1e-8)
    assert after.high - before.high == pytest.approx(shift, abs=1e-8)


@given(samples, st.integers(0, 2**32 - 1))
def test_paired_agrees_with_scipy(first: list[float], seed: int) -> None:
    second = np.random.default_rng(seed).normal(size=len(first))
    interval = paired_interval(first, second)
    reference = stats.ttest_rel(first, second)
    assert interval.low == pytest.approx(reference.confidence_interval().low, rel=1e-7, abs=1e-7)
    assert paired_p_value(first, second) == pytest.approx(reference.pvalue, rel=1e-6, abs=1e-12)


def test_one_value_says_nothing_about_its_spread() -> None:
    assert mean_interval([2.0]).high == math.inf
    assert mean_interval([2.0]).signed("points") == "+2.00 ± inf points (n=1)"
    assert paired_p_value([1.0, 2.0], [1.0, 2.0]) == 1.0


@given(st.integers(2, 12), st.integers(-40, 40), st.integers(0, 2**32 - 1))
def test_few_equal_differences_resolve_nothing(n: int, more: int, seed: int) -> None:
    # Accuracies on 360 images, in percent: their differences are equal but for rounding.
    right = np.random.default_rng(seed).integers(100, 300, size=n)
    first, second = 100 * (right + more) / 360, 100 * right / 360
    interval, p = paired_interval(first, second), paired_p_value(first, second)
    assert p == (2.0 ** (1 - n) if more else 1.0)
    if n < 6:
        assert (interval.low, interval.high) == (-math.inf, math.inf)
    else:
        assert interval.low == interval.high == pytest.approx(100 * more / 360, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_between_none_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p) - 1e-15)
    assert np.all(adjusted <= np.minimum(np.array(p) * len(p), 1) + 1e-15)
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0)
    assert adjusted.min() == pytest.approx(min(1, min(p) * len(p)))


@given(st.integers(1, 500), st.data())
def test_wilson_agrees_with_scipy(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    reference = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    assert low == pytest.approx(reference.low, abs=1e-12)
    assert high == pytest.approx(reference.high, abs=1e-12)


def test_pairs_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="second='2 values' is not of the length of first, 3"):
        paired_interval([1, 2, 3], [1, 2])
