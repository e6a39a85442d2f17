"""Looking often does not spoil the sequential test: its error is what it says, and its interval inverts it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import t as student

from commons import InputError
from commons.sequential import evidence, sequential_interval, sequential_p_value

finite = st.floats(-100, 100)


def test_a_thousand_sequences_under_the_null_claim_at_most_five_percent() -> None:
    """At every look from 2 to 50 differences; also for accuracies on a grid of a few hundred test images."""
    for grid in (0.0, 0.28):
        rng = np.random.default_rng(1)
        claims = 0
        for _ in range(1000):
            x = rng.normal(0, rng.choice([0.3, 1.0, 20.0]), 50)
            x = np.round(x / grid) * grid if grid else x
            claims += sequential_p_value(x.tolist()) <= 0.05
        assert claims <= 50
        assert claims > 5  # so that the test can fail


@pytest.mark.parametrize("n", [2, 5, 20])
def test_the_evidence_has_mean_one_under_the_null(n: int) -> None:
    def weighted(t: float) -> float:
        x = np.linspace(-1, 1, n)
        x = (x - x.mean()) / x.std(ddof=1) + t / math.sqrt(n)  # values whose t statistic is t
        return evidence(x.tolist()) * float(student.pdf(t, n - 1))

    assert quad(weighted, -np.inf, np.inf)[0] == pytest.approx(1, abs=1e-6)


@given(st.lists(finite, min_size=5, max_size=30).filter(lambda x: np.std(x) > 1e-3), st.sampled_from([0.8, 0.95]))
def test_the_interval_holds_the_means_with_little_evidence_against_them(x: list[float], confidence: float) -> None:
    interval = sequential_interval(x, confidence)
    if math.isinf(interval.high):
        assert evidence(x, mean=interval.mean + 1e6) < 1 / (1 - confidence)
        return
    half = interval.high - interval.mean
    for end in (interval.low, interval.high):
        assert evidence(x, mean=end) == pytest.approx(1 / (1 - confidence), rel=1e-6)
    assert evidence(x, mean=interval.mean + 0.9 * half) < 1 / (1 - confidence) < evidence(x, interval.mean + 1.1 * half)


@given(st.lists(finite, min_size=2, max_size=20).filter(lambda x: np.std(x) > 1e-3), st.floats(1e-2, 1e2))
def test_the_unit_does_not_matter(x: list[float], scale: float) -> None:
    assert evidence([scale * v for v in x]) == pytest.approx(evidence(x), rel=1e-6)


def test_one_value_says_nothing() -> None:
    assert sequential_p_value([3.0]) == 1
    assert math.isinf(sequential_interval([3.0]).low)
    with pytest.raises(InputError):
        sequential_interval([])
