"""Lanczos with full reorthogonalization and thick restarts: the largest or smallest eigenvalues, the default solver.

It never calls an eigenvalue converged whose error estimate is above the tolerance or below what the precision allows.
"""

import numpy as np
from torch import Tensor

from commons.checks import choice, number, refuse
from sparse_training.sharpness.base import FLOOR, SymmetricOperator
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.krylov import Array, Krylov, Ritz, random_unit


def lanczos(
    operator: SymmetricOperator,
    *,
    which: str = "largest",
    tol: float = 1e-3,
    start: Tensor | None = None,
    seed: int = 0,
    max_products: int = 1000,
    basis: int = 64,
) -> Eigenpair:
    """The largest (or "smallest") eigenvalue of operator.

    tol: relative to |λ|, at least 1e-6 in float32. start: (size,), any length; None draws one from seed. basis: most
    vectors held at once. Stops when min(r, r²/gap) ≤ tol·|λ|, the second only for r below half the gap.
    """
    check(operator, tol, max_products)
    sign = {"largest": 1, "smallest": -1}[choice("which", which, ("largest", "smallest"))]
    spent, before = operator.gradient_equivalents, operator.products
    krylov = Krylov(operator, random_unit(operator, seed) if start is None else start, max(basis, 3), sign=sign)
    while True:
        krylov.grow()
        ritz = krylov.ritz()
        error = float(errors(ritz)[0])
        target = tol * abs(float(ritz.values[0]))
        if error <= target or krylov.exhausted:
            reason = f"error estimate {error:.1e} <= {target:.1e}"
            break
        if error <= FLOOR[operator.dtype] * float(np.abs(ritz.values).max()):
            reason = f"error estimate {error:.1e} is at the floor of {operator.dtype}; pass dtype=torch.float64"
            break
        if operator.products - before >= max_products:
            reason = f"error estimate {error:.1e} > {target:.1e} after max_products={max_products}"
            break
        if krylov.steps == krylov.capacity:
            krylov.restart(ritz, krylov.capacity // 2)
    return Eigenpair(
        value=sign * float(ritz.values[0]),
        vector=krylov.vectors(ritz.coordinates[:, :1])[0],
        residual=float(ritz.residuals[0]),
        error=max(error, FLOOR[operator.dtype] * abs(float(ritz.values[0]))),
        hvps=operator.products - before,
        gradient_equivalents=operator.gradient_equivalents - spent,
        converged=error <= target,
        reason=reason,
    )


def errors(ritz: Ritz) -> Array:
    """Estimates (m,) of the distance of each Ritz value from an eigenvalue: r, or r²/gap for r below half the gap.

    The gap is the distance to the nearest other Ritz value, less that one's residual (Parlett 1998, theorem 11.7.1).
    """
    values, residuals = ritz.values, ritz.residuals
    if len(values) == 1:
        return residuals
    apart = np.abs(values[:, None] - values) - residuals
    np.fill_diagonal(apart, np.inf)
    gaps = apart.min(axis=1)
    return np.where(residuals < gaps / 2, residuals**2 / np.where(gaps > 0, gaps, 1), residuals)


def check(operator: SymmetricOperator, tol: float, max_products: int) -> None:
    """Refuse a tolerance that the precision cannot hold, or no product at all."""
    number("tol", tol, above=0, below=1)
    number("max_products", max_products, at_least=1, integer=True)
    if tol < FLOOR[operator.dtype]:
        refuse("tol", tol, f"at least {FLOOR[operator.dtype]:g} in {operator.dtype}", "pass dtype=torch.float64")
