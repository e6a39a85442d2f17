"""Verdicts follow from the numbers alone: found where they were put in, and withheld where seeds cannot tell."""

import csv
from pathlib import Path

import numpy as np
import pytest

from commons import InputError
from commons.verdicts import Verdict
from sparse_training.transplant import paper_cells
from sparse_training.transplant.report import report
from sparse_training.transplant.verdict import BASELINE, Roles, compare_starts, statements

ROLES = Roles("final signs", "final magnitudes", "random", {10: "epoch 10", 30: "epoch 30"})
AGREES, DISAGREES, NOT_RESOLVED = Verdict.AGREES, Verdict.DISAGREES, Verdict.NOT_RESOLVED


def accuracies(shifts, spread=0.1, seeds=5):
    """By start and seed: a common level a seed, the start's shift, and noise of the given spread."""
    rng = np.random.default_rng(0)
    level = 90 + rng.normal(0, 2, seeds)
    return {start: dict(enumerate(level + shift + rng.normal(0, spread, seeds))) for start, shift in shifts.items()}


PAPER = {BASELINE: 0.0, "epoch 10": -2.0, "epoch 30": 0.1, "final signs": 0.1, "final magnitudes": -3.7, "random": -4.1}


def told(shifts, same=None, **kind):
    numbers = accuracies(shifts, **kind)
    return statements(compare_starts(numbers, "acdc", 1.0, same), numbers, ROLES)


def verdicts(shifts, **kind):
    return [statement.verdict for statement in told(shifts, **kind)]


def test_the_papers_pattern_gives_the_papers_statements():
    assert verdicts(PAPER) == [AGREES] * 4
    assert told(PAPER)[2].measured.startswith("from epoch 30 on")


def test_the_opposite_pattern_refutes_them():
    opposite = {**PAPER, "final signs": -6.0, "final magnitudes": 0.0, "epoch 10": -4.0, "epoch 30": -4.0}
    assert verdicts(opposite) == [DISAGREES] * 4


def test_noise_leaves_them_undecided():
    assert verdicts(PAPER, spread=20.0) == [NOT_RESOLVED] * 4


def test_one_seed_decides_nothing():
    assert verdicts(PAPER, seeds=1) == [NOT_RESOLVED] * 4


def test_early_signs_suffice_only_from_where_all_later_ones_do():
    assert told({**PAPER, "epoch 10": 0.0})[2].measured.startswith("from epoch 10 on")
    assert verdicts({**PAPER, "epoch 10": 0.0, "epoch 30": -3.0})[2] is NOT_RESOLVED


def test_early_signs_that_are_the_final_ones_are_no_second_experiment():
    same = {"epoch 10": "final signs", "epoch 30": "final signs"}
    early = told(PAPER, same)[2]
    assert early.verdict is Verdict.NOT_TESTED
    assert early.measured == "the signs of epoch 10 and 30 are the final ones: the same experiment"
    early = told({**PAPER, "epoch 10": -3.0}, {"epoch 30": "final signs"})[2]
    assert (early.verdict, early.measured[:16]) == (AGREES, "from epoch 30 on")
    assert "epoch 30: the final signs" in early.measured


def test_a_repeated_start_counts_once_in_the_correction():
    numbers = accuracies({BASELINE: 0.0, "a": -0.3, "again": -0.3, "b": -0.2}, spread=0.15)
    found = {c.start: c for c in compare_starts(numbers, "s", 0.0, {"again": "a"})}
    alone = {c.start: c for c in compare_starts({k: v for k, v in numbers.items() if k != "again"}, "s", 0.0)}
    assert (found["again"].p, found["again"].recovers, found["again"].same_as) == (
        found["a"].p,
        found["a"].recovers,
        "a",
    )
    assert all(found[start] == alone[start] for start in alone)
    assert found["again"].difference != found["a"].difference


def test_the_correction_widens_with_the_number_of_starts():
    few = {BASELINE: 0.0, "a": -0.3}
    many = {**few, **{f"start {i}": 0.0 for i in range(30)}}
    first, second = (compare_starts(accuracies(shifts, spread=0.15), "s", 0.0)[1] for shifts in (few, many))
    assert first.difference == second.difference
    assert first.recovers is DISAGREES
    assert second.recovers is NOT_RESOLVED
    assert second.p > first.p


def test_pairs_are_made_by_seed():
    level = {seed: 70.0 + 10 * (seed % 3) for seed in range(6)}
    shifted = {seed: level[seed] - 1 for seed in reversed(range(6))}
    comparison = compare_starts({BASELINE: level, "start": shifted}, "s", 2.0)[1]
    assert (comparison.difference.mean, comparison.difference.low, comparison.difference.high) == (-1, -1, -1)


def test_without_a_baseline_or_a_shared_seed_nothing_is_compared():
    with pytest.raises(InputError, match="with a baseline"):
        compare_starts({"start": {0: 1.0}}, "s", 1.0)
    with pytest.raises(InputError, match=r"shared with \[1\]"):
        compare_starts({BASELINE: {1: 1.0}, "start": {0: 1.0}}, "s", 1.0)


def test_the_kept_report_says_what_its_runs_say():
    kept = Path(__file__).resolve().parents[3] / "results" / "transplant_digits"
    with kept.with_suffix(".csv").open(encoding="utf-8") as file:
        numbers = {"seed": int, "accuracy": float, "density": float}
        rows = [{**row, **{key: read(row[key]) for key, read in numbers.items()}} for row in csv.DictReader(file)]
    rows = [{"same_as": "", **row} for row in rows]
    text = kept.with_suffix(".md").read_text(encoding="utf-8")
    assert report(rows, paper_cells((3, 9)), 1.0, text.split("`")[1]) == text
