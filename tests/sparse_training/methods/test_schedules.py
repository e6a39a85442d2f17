"""Schedules begin and end where their papers say, and no step of any length of training is left without a phase."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.methods.schedules import alternating, cosine_drop, cubic_density, levels

shares = st.floats(0.01, 0.99)


@given(st.floats(0, 1), shares)
def test_cubic_density_goes_from_dense_to_final_and_never_up(done, final):
    assert cubic_density(0.2, final, 0.2, 0.8) == 1
    assert cubic_density(0.8, final, 0.2, 0.8) == cubic_density(1, final, 0.2, 0.8) == final
    here, later = (cubic_density(t, final, 0.2, 0.8) for t in (done, min(done + 0.01, 1)))
    assert final <= later <= here <= 1


def test_cubic_density_removes_seven_eighths_in_the_first_half():
    assert cubic_density(0.5, 0.1, 0.2, 0.8) == pytest.approx(0.1 + 0.9 / 8)


def test_cosine_drop_falls_from_its_fraction_to_nothing():
    assert cosine_drop(0, 0.3, 0.75) == pytest.approx(0.3)
    assert cosine_drop(0.375, 0.3, 0.75) == pytest.approx(0.15)
    assert cosine_drop(0.75, 0.3, 0.75) == cosine_drop(1, 0.3, 0.75) == 0


def test_phases_are_those_of_ac_dc_on_a_hundred_epochs():
    phases = alternating(100, 0.1, 0.05, 0.15)
    assert [(p.begin, p.end) for p in phases if p.dense] == [
        (0, 10), (15, 20), (25, 30), (35, 40), (45, 50), (55, 60), (65, 70), (75, 85),
    ]  # fmt: skip
    assert (phases[-1].begin, phases[-1].end, phases[-1].dense) == (85, 100, False)


@given(st.integers(1, 3000))
def test_phases_alternate_without_gap_and_end_sparse(steps):
    phases = alternating(steps, 0.1, 0.05, 0.15)
    assert phases[0].begin == 0
    assert phases[-1].end == steps
    assert not phases[-1].dense
    for before, after in itertools.pairwise(phases):
        assert before.begin < before.end == after.begin
        assert before.dense != after.dense


@given(shares, st.floats(0.05, 0.9))
def test_levels_remove_the_same_share_and_end_on_the_density(density, share):
    found = levels(density, share)
    assert (found[0], found[-1]) == (1, density)
    for before, after in itertools.pairwise(found[:-1]):
        assert after == pytest.approx(before * (1 - share))
    assert found[-2] > found[-1] >= found[-2] * (1 - share) * (1 - 1e-6)


def test_a_dense_target_has_one_level():
    assert levels(1.0, 0.2) == [1.0]
