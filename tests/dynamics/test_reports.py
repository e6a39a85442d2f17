"""Every sweep says how far it is, up to its end, and comes out the same whether anyone listens or not."""

import numpy as np
import pytest

from dynamics import sweeps
from dynamics.__main__ import SWEEPS
from dynamics.geometry import geometry

SMALL = {"step": {"steps": 40}, "adam": {"steps": 40}, "noise": {"steps": 40}, "decay": {"steps": 40}}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_reports_up_to_its_end_and_is_the_same_without(name: str) -> None:
    told: list[tuple[int, int]] = []
    sweep, options = getattr(sweeps, name), SMALL.get(name, {})
    heard = sweep(grid=2, starts=3, report=lambda done, of: told.append((done, of)), **options)
    assert np.array_equal(heard.rate, sweep(grid=2, starts=3, **options).rate)
    assert told == sorted(set(told))
    assert told[-1][0] == told[-1][1]


def test_what_is_followed_in_parts_ends_where_it_ends_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = sweeps.betas(grid=4, starts=8)
    monkeypatch.setattr(sweeps, "PART", 13)
    assert np.array_equal(whole.rate, sweeps.betas(grid=4, starts=8).rate)


def test_the_shares_by_flow_are_counted_to_the_last() -> None:
    told: list[tuple[int, int]] = []
    geometry(count=2, scales=np.array([0.5, 1.0]), report=lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
