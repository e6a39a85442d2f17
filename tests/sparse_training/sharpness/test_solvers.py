"""Solvers on spectra that are known: hard cases by hand, and many random ones for what is claimed of them."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from commons import InputError
from sparse_training.sharpness import (
    Eigenpair,
    MatrixOperator,
    SymmetricOperator,
    lanczos,
    power_iteration,
    spectral_density,
    top,
    trace,
)


class Diagonal(SymmetricOperator):
    """diag(values): by rotation invariance of random starts as good as any matrix of that spectrum."""

    def __init__(self, values: np.ndarray, dtype: torch.dtype = torch.float64) -> None:
        super().__init__(len(values), dtype, torch.device("cpu"))
        self.values = torch.tensor(values, dtype=dtype)

    def _product(self, v: Tensor) -> Tensor:
        return self.values * v


def spectrum(kind: str, draw: np.random.Generator, n: int = 200) -> np.ndarray:
    """outliers over a bulk, an edge without gaps, a close pair, a slow decay; negative eigenvalues in the first two."""
    if kind == "edge":
        matrix = draw.standard_normal((n, n))
        return np.linalg.eigvalsh(matrix + matrix.T)
    if kind == "decay":
        return np.arange(1.0, n + 1) ** -draw.uniform(0.5, 2)
    values = 0.05 * draw.standard_normal(n)
    values[:10] = draw.uniform(0.2, 1, 10)
    if kind == "pair":
        values[:2] = 1, 1 - 10 ** draw.uniform(-4, -1)
    return values


KINDS = ("outliers", "edge", "pair", "decay")


def right(pair: Eigenpair, truth: float, tol: float) -> bool:
    return pair.converged and abs(pair.value - truth) <= tol * abs(truth)


@pytest.mark.parametrize("solve", [lanczos, power_iteration])
def test_negative_eigenvalue_of_larger_magnitude_is_not_the_maximum(solve: type) -> None:
    operator = Diagonal(np.array([-7.0, -1, 0, 2, 3]))
    assert right(solve(operator, tol=1e-6), 3.0, 1e-6)
    assert right(power_iteration(operator, tol=1e-6, which="magnitude"), -7.0, 1e-6)
    assert right(lanczos(operator, tol=1e-6, which="smallest"), -7.0, 1e-6)


@pytest.mark.parametrize("solve", [lanczos, power_iteration])
def test_all_eigenvalues_negative(solve: type) -> None:
    assert right(solve(Diagonal(-np.arange(1.0, 30)), tol=1e-5, max_products=3000), -1.0, 1e-5)


@pytest.mark.parametrize("solve", [lanczos, power_iteration])
def test_opposite_eigenvalues_of_equal_magnitude(solve: type) -> None:
    pair = solve(Diagonal(np.array([-1.0, 0.5, 1])), max_products=200)
    assert right(pair, 1.0, 1e-3) or not pair.converged


@pytest.mark.parametrize("solve", [lanczos, power_iteration])
def test_rank_one_zero_gap_one_by_one_and_zero(solve: type) -> None:
    u = torch.linspace(-1, 1, 40, dtype=torch.float64)
    assert right(solve(MatrixOperator(torch.outer(u, u)), tol=1e-9), float(u @ u), 1e-9)
    assert right(solve(Diagonal(np.array([2.0, 2, 2, 1, 0]))), 2.0, 1e-3)
    assert right(solve(MatrixOperator(torch.tensor([[3.0]]))), 3.0, 1e-6)
    assert right(solve(MatrixOperator(torch.zeros(5, 5))), 0.0, 1e-3)


def test_top_finds_every_copy_of_a_multiple_eigenvalue() -> None:
    values = np.concatenate([[5.0, 5, 5, 4], np.linspace(-1, 3, 60)])
    pairs = top(Diagonal(values), 5, tol=1e-6)
    assert [round(pair.value, 4) for pair in pairs] == [5, 5, 5, 4, 3]
    vectors = torch.stack([pair.vector for pair in pairs])
    assert (vectors @ vectors.T - torch.eye(5)).abs().max() < 1e-5


def test_top_of_fewer_distinct_values_than_pairs() -> None:
    assert [pair.value for pair in top(MatrixOperator(torch.eye(20)), 3)] == pytest.approx([1, 1, 1])
    assert [pair.value for pair in top(MatrixOperator(torch.zeros(6, 6)), 2)] == [0, 0]


@pytest.mark.parametrize("start", [torch.zeros(3), torch.tensor([1.0, np.nan, 0]), torch.ones(2)], ids=str)
def test_a_start_without_direction_or_of_another_shape_is_refused(start: Tensor) -> None:
    with pytest.raises(InputError, match="start"):
        lanczos(Diagonal(np.array([1.0, 2, 3])), start=start)


def test_restarts_reach_the_same_pair() -> None:
    values = spectrum("edge", np.random.default_rng(0))
    pair = lanczos(Diagonal(values), tol=1e-5, basis=12)
    assert pair.hvps > 12
    assert right(pair, values.max(), 1e-5)


@pytest.mark.parametrize("tol", [1e-3, 1e-4])
def test_a_missed_tolerance_that_is_claimed_is_rare_and_told_by_a_second_start(tol: float) -> None:
    """A random start is almost orthogonal to the top eigenvector about once in a thousand; two are not."""
    draw, missed = np.random.default_rng(2), 0
    for seed in range(400):
        values = spectrum(KINDS[seed % 4], draw, 300)
        pair = lanczos(Diagonal(values), tol=tol, seed=seed)
        assert pair.converged
        if not right(pair, values.max(), tol):
            missed += 1
            assert right(lanczos(Diagonal(values), tol=tol, seed=1000 + seed), values.max(), tol)
    assert missed <= 1


def test_warm_start_is_cheaper_and_reaches_a_newly_largest_eigenvector() -> None:
    values = spectrum("outliers", np.random.default_rng(3))
    before = lanczos(Diagonal(values))
    assert lanczos(Diagonal(values * 1.01), start=before.vector).hvps < before.hvps
    overtaken = values.copy()
    overtaken[-1] = 1.5 * values.max()
    assert right(lanczos(Diagonal(overtaken), start=before.vector), overtaken.max(), 1e-3)


def test_unmet_tolerance_says_so() -> None:
    values = spectrum("edge", np.random.default_rng(4))
    for pair in (lanczos(Diagonal(values), max_products=3), power_iteration(Diagonal(values), max_products=3)):
        assert not pair.converged
        assert "max_products=3" in pair.reason
        assert "NOT CONVERGED" in str(pair)
        assert pair.hvps == 3
    small = np.concatenate([[-1e-9], np.linspace(0.5, 1, 50)])
    floor = lanczos(Diagonal(small, torch.float32), which="smallest")
    assert not floor.converged
    assert "float64" in floor.reason


def test_float32_claims_no_better_than_its_floor() -> None:
    values = spectrum("outliers", np.random.default_rng(5))
    with pytest.raises(InputError, match=r"tol=1e-08 .*dtype=torch.float64"):
        lanczos(Diagonal(values, torch.float32), tol=1e-8)
    pair = lanczos(Diagonal(values, torch.float32), tol=1e-6)
    assert pair.error >= 1e-6 * pair.value
    assert right(pair, values.max(), 2e-6)


def test_intervals_and_bounds_cover_the_truth_on_two_hundred_problems() -> None:
    draw, covered = np.random.default_rng(6), np.zeros(5)
    for seed in range(200):
        values = spectrum(KINDS[seed % 4], draw, 120)
        operator, full = Diagonal(values), MatrixOperator(rotated(values, seed))
        hutchinson = trace(full, method="hutchinson", products=30, seed=seed)
        sketched = trace(full, products=30, seed=seed)
        density = spectral_density(operator, steps=4, seed=seed, points=2)
        truths = [values.sum(), values.sum(), values.mean(), (values**2).mean()]
        intervals = [hutchinson, sketched, density.moment(1), density.moment(2)]
        covered[:4] += [i.low - 1e-9 <= t <= i.high + 1e-9 for i, t in zip(intervals, truths, strict=True)]
        covered[4] += values.max() <= lanczos(operator, max_products=6, tol=1e-5, seed=seed).upper_bound
    assert (covered >= 0.95 * 200).all(), dict(
        zip(("hutchinson", "hutch++", "m1", "m2", "bound"), covered, strict=True)
    )


def rotated(values: np.ndarray, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64)).Q
    matrix = q @ torch.diag(torch.tensor(values)) @ q.T
    return (matrix + matrix.T) / 2


def test_bound_tightens_and_holds_for_a_start_that_leans_elsewhere() -> None:
    values = spectrum("outliers", np.random.default_rng(7))
    misleading = torch.zeros(200, dtype=torch.float64)
    misleading[int(np.argsort(values)[-2])] = 1
    bounds = [lanczos(Diagonal(values), start=misleading, max_products=m, tol=1e-6).upper_bound for m in (2, 6, 12)]
    assert bounds[0] > bounds[1] > bounds[2] >= values.max()


def test_hutch_plus_plus_is_exact_for_low_rank_and_for_all_of_a_small_space() -> None:
    u = torch.randn(3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low = (u.T @ u + (u.T @ u).T) / 2
    assert trace(MatrixOperator(low), products=30).mean == pytest.approx(float(torch.trace(low)), rel=1e-10)
    assert trace(MatrixOperator(torch.tensor([[4.0]])), products=6).mean == 4.0


def test_density_integrates_to_one_and_finds_the_mass() -> None:
    values = np.concatenate([np.zeros(270), np.full(30, 2.0)])
    density = spectral_density(Diagonal(values), probes=20, steps=10)
    assert np.trapezoid(density.mean, density.grid) == pytest.approx(1, abs=1e-3)
    upper = np.trapezoid(np.where(density.grid > 1, density.mean, 0), density.grid)
    assert upper == pytest.approx(0.1, abs=0.03)
    assert (density.low <= density.mean).all()
    assert (density.mean <= density.high).all()


def test_non_finite_products_stop() -> None:
    with pytest.raises(InputError, match="finite"):
        lanczos(Diagonal(np.array([1.0, np.inf, 2.0])))


def test_pairs_are_values() -> None:
    pair = lanczos(Diagonal(np.array([1.0, 2.0])))
    with pytest.raises(dataclasses.FrozenInstanceError):
        pair.value = 3.0  # type: ignore[misc]
    assert pair.vector.shape == (2,)
