"""Verdicts follow from the numbers alone: found where they were put in, and withheld where seeds cannot tell."""

import numpy as np
import pytest

from commons import InputError
from sparse_training.transplant.verdict import BASELINE, Outcome, compare_starts, statements

NAMES = {"signs": "final signs", "magnitudes": "final magnitudes", "early": {10: "epoch 10", 30: "epoch 30"}}


def accuracies(shifts, spread=0.1, seeds=5):
    """By start and seed: a common level a seed, the start's shift, and noise of the given spread."""
    rng = np.random.default_rng(0)
    level = 90 + rng.normal(0, 2, seeds)
    return {start: dict(enumerate(level + shift + rng.normal(0, spread, seeds))) for start, shift in shifts.items()}


PAPER = {BASELINE: 0.0, "epoch 10": -2.0, "epoch 30": 0.1, "final signs": 0.1, "final magnitudes": -3.7, "random": -4.1}


def verdicts(shifts, **kind):
    comparisons = compare_starts(accuracies(shifts, **kind), "acdc", margin=1.0)
    return [statement.verdict for statement in statements(comparisons, **NAMES)]


def test_the_papers_pattern_gives_the_papers_statements():
    assert verdicts(PAPER) == ["holds", "holds", "holds from epoch 30 on"]


def test_the_opposite_pattern_refutes_them():
    opposite = {**PAPER, "final signs": -3.0, "final magnitudes": 0.0, "epoch 10": -4.0, "epoch 30": -4.0}
    assert verdicts(opposite) == ["fails", "fails", "fails"]


def test_noise_leaves_them_undecided():
    assert verdicts(PAPER, spread=20.0) == ["undecided"] * 3


def test_one_seed_decides_nothing():
    assert verdicts(PAPER, seeds=1) == ["undecided"] * 3


def test_early_signs_suffice_only_from_where_all_later_ones_do():
    assert verdicts({**PAPER, "epoch 10": 0.0})[2] == "holds from epoch 10 on"
    assert verdicts({**PAPER, "epoch 10": 0.0, "epoch 30": -3.0})[2] == "undecided"


def test_the_correction_widens_with_the_number_of_starts():
    few = {BASELINE: 0.0, "a": -0.3}
    many = {**few, **{f"start {i}": 0.0 for i in range(30)}}
    first, second = (compare_starts(accuracies(shifts, spread=0.15), "s", 0.0)[1] for shifts in (few, many))
    assert first.difference == second.difference
    assert first.outcome is Outcome.FALLS_SHORT
    assert second.outcome is Outcome.UNDECIDED
    assert second.p > first.p


def test_pairs_are_made_by_seed():
    level = {0: 70.0, 1: 80.0, 2: 90.0}
    shifted = {2: 89.0, 0: 69.0, 1: 79.0}
    comparison = compare_starts({BASELINE: level, "start": shifted}, "s", 2.0)[1]
    assert (comparison.difference.mean, comparison.difference.low, comparison.difference.high) == (-1, -1, -1)


def test_without_a_baseline_or_a_shared_seed_nothing_is_compared():
    with pytest.raises(InputError, match="with a baseline"):
        compare_starts({"start": {0: 1.0}}, "s", 1.0)
    with pytest.raises(InputError, match=r"shared with the baseline's \[1\]"):
        compare_starts({BASELINE: {1: 1.0}, "start": {0: 1.0}}, "s", 1.0)
