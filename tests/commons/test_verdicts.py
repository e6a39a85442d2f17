import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commons.statistics import Interval
from commons.verdicts import Verdict, above, below, better, every, opposite, recovers

ends = st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted)


@given(ends, st.floats(-5, 5))
def test_a_verdict_needs_the_whole_interval_on_one_side(interval: list[float], bound: float) -> None:
    low, high = interval
    measured = Interval((low + high) / 2, low, high, 5)
    expected = Verdict.AGREES if low > bound else Verdict.DISAGREES if high < bound else Verdict.NOT_RESOLVED
    assert above(measured, bound) is expected
    assert below(measured, bound) is opposite(expected)


def test_one_seed_resolves_nothing() -> None:
    one = Interval(-100.0, -math.inf, math.inf, 1)
    assert above(one) is recovers(one, 1.0, 1.0) is Verdict.NOT_RESOLVED


@pytest.mark.parametrize(
    ("mean", "half", "p", "verdict"),
    [
        (-0.5, 0.3, 0.01, Verdict.AGREES),  # below, but surely within the margin of 1
        (-0.8, 0.5, 0.01, Verdict.DISAGREES),
        (-0.8, 0.5, 0.06, Verdict.NOT_RESOLVED),
        (+0.8, 2.0, 0.30, Verdict.NOT_RESOLVED),
        (+3.0, 0.1, 0.01, Verdict.AGREES),
    ],
)
def test_to_recover_is_to_lie_within_the_margin(mean: float, half: float, p: float, verdict: Verdict) -> None:
    assert recovers(Interval(mean, mean - half, mean + half, 5), p, 1.0) is verdict


@pytest.mark.parametrize(
    ("difference", "p", "verdict"),
    [
        (1.0, 0.04, Verdict.AGREES),
        (-1.0, 0.04, Verdict.DISAGREES),
        (9.0, 0.05, Verdict.NOT_RESOLVED),
        (9.0, math.nan, Verdict.NOT_RESOLVED),
    ],
)
def test_a_difference_needs_its_adjusted_p_value(difference: float, p: float, verdict: Verdict) -> None:
    assert better(difference, p) is verdict


@pytest.mark.parametrize(
    ("successes", "trials", "verdict"),
    [(9, 10, Verdict.DISAGREES), (10, 10, Verdict.AGREES), (0, 0, Verdict.NOT_TESTED)],
)
def test_a_claim_about_all_falls_with_one_exception(successes: int, trials: int, verdict: Verdict) -> None:
    assert every(successes, trials) is verdict


def test_the_kept_tables_use_these_words_alone() -> None:
    words, count = {*map(str, Verdict), "–"}, 0
    for page in sorted((Path(__file__).resolve().parents[2] / "results").glob("*.md")):
        heads: list[str] = []
        for line in page.read_text(encoding="utf-8").splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
            heads = heads if cells and heads else cells  # the first line of a table
            for head, cell in zip(heads, cells, strict=True):
                if re.match("verdict$|recovers$|better than", head) and cell != head and cell.strip("-:"):
                    assert cell in words, f"{page.name}: {line}"
                    count += 1
    assert count > 50
