import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons.statistics import Interval
from figures.claims import Verdict, above, below, by_seed, every

ends = st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted)


@given(ends, st.floats(-5, 5))
def test_a_verdict_needs_the_whole_interval_on_one_side(interval: list[float], bound: float) -> None:
    low, high = interval
    measured = Interval((low + high) / 2, low, high, 5)
    expected = Verdict.AGREES if low > bound else Verdict.DISAGREES if high < bound else Verdict.NOT_RESOLVED
    assert above(measured, bound) is expected
    opposite = {Verdict.AGREES: Verdict.DISAGREES, Verdict.DISAGREES: Verdict.AGREES}
    assert below(measured, bound) is opposite.get(expected, Verdict.NOT_RESOLVED)


def test_one_seed_resolves_nothing() -> None:
    assert above(Interval(100.0, -math.inf, math.inf, 1)) is Verdict.NOT_RESOLVED


@pytest.mark.parametrize(
    ("successes", "trials", "verdict"),
    [(9, 10, Verdict.DISAGREES), (10, 10, Verdict.AGREES), (0, 0, Verdict.NOT_TESTED)],
)
def test_a_claim_about_all_falls_with_one_exception(successes: int, trials: int, verdict: Verdict) -> None:
    assert every(successes, trials)[1] is verdict


def test_rows_pair_by_seed_whatever_their_order() -> None:
    rows = [{"arm": arm, "seed": str(seed), "x": str(seed + 0.5)} for seed in (10, 9, 1) for arm in ("a", "b")]
    assert by_seed(rows, "x", arm="b") == [1.5, 9.5, 10.5]
