"""When a Lanczos solve may end: bounds on the errors of Ritz values, and which pairs they let count as converged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from commons.checks import number, refuse
from sparse_training.sharpness.base import FLOOR, SymmetricOperator
from sparse_training.sharpness.krylov import Array, Krylov, Ritz

# Two eigenvalues that are closer than the residual r look like one. Stopping at min(r, r²/gap) ≤ tol·|λ|, with the gap
# of the Ritz values, made 13 % of 3,000 solves on random spectra claim a tolerance that they missed (61 % with a close
# pair at the top); r ≤ 0.25·tol·|λ| made 0.5 %, r ≤ 0.05·tol·|λ| 3 in 4,000, r ≤ 0.02·tol·|λ| 1 in 4,000.
RESIDUAL_LIMIT = 0.02
# Where λ₂ is known from elsewhere, r²/gap bounds the error (Kato 1949, Temple 1928). A gap below a fifth of λ is not
# believed, and the margin covers one that is overestimated tenfold. Nor is it believed before the random part of the
# start has led to a second Ritz pair with a residual below half its value: what a few samples show may hide a larger
# eigenvalue of the others, and until then this space has not looked for it.
GAP_LIMIT, GAP_MARGIN, SEEN = 0.2, 10, 0.5
BY_GAP = f"{GAP_MARGIN} residual²/gap"
# Products before anything is believed: a start that is an eigenvector by itself has no residual.
FEWEST = 3


@dataclass(frozen=True)
class Limits:
    """When a solve may end: the relative tolerance, the most products, and what is known of λ₂.

    second: about how large λ₂ is. share: about which share of λ₁ it is at most. None where nothing is known.
    zero: share of the largest magnitude at which a value counts as 0, whatever its relative error.
    """

    tol: float
    max_products: int
    second: float | None = None
    share: float | None = None
    zero: float = 0.0

    def targets(self, ritz: Ritz, k: int) -> Array:
        """The errors that the first k values may have, (k,)."""
        values, zero = np.abs(ritz.values[:k]), self.zero * float(np.abs(ritz.values).max())
        return np.where(values <= zero, np.maximum(zero, self.tol * values), self.tol * values)


def errors(ritz: Ritz, k: int, limits: Limits) -> Array:
    """Return bounds on the errors of the first k values, (k,): their residuals, or GAP_MARGIN · residual²/gap.

    The second holds for the first value alone. It needs a clear gap from it to λ₂, as known from elsewhere, and to the
    second Ritz value, and a second Ritz pair that has been found.
    """
    bounds: Array = ritz.residuals[:k].copy()
    known = [ritz.values[1]] if len(ritz.values) > 1 else []
    known += [] if limits.second is None else [limits.second]
    known += [] if limits.share is None else [limits.share * ritz.values[0]]
    if len(ritz.values) > 1 and len(known) > 1:
        gap = float(ritz.values[0] - max(known))
        found = ritz.residuals[1] <= SEEN * abs(ritz.values[1])
        if found and gap >= max(GAP_LIMIT * abs(float(ritz.values[0])), 2 * bounds[0]):
            bounds[0] = min(bounds[0], GAP_MARGIN * bounds[0] ** 2 / gap)
    return bounds


def verdict(krylov: Krylov, ritz: Ritz, k: int, limits: Limits, spent_all: bool) -> tuple[str, NDArray[np.bool_]]:
    """Return why to stop now, or an empty string, and which of the first k pairs are converged."""
    dtype = krylov.operator.dtype
    values, residuals, bounds = np.abs(ritz.values[:k]), ritz.residuals[:k], errors(ritz, k, limits)
    target, floor = limits.targets(ritz, k), FLOOR[dtype] * float(np.abs(ritz.values).max())
    converged = residuals <= np.minimum(target, np.maximum(RESIDUAL_LIMIT * target, floor))
    room = np.minimum(2 * krylov.operator.unseen * values, target / 2)  # for the rounding, which is measured afterwards
    converged |= (bounds < residuals) & (bounds <= target - room)
    converged &= krylov.steps >= FEWEST or krylov.exhausted
    worst = int(np.argmax(bounds - target))
    kind = "residual" if bounds[worst] == residuals[worst] else BY_GAP
    told = f"{kind} {bounds[worst]:.1e}, tolerance {target[worst]:.1e}"
    if target[worst] > limits.tol * values[worst]:
        told += f": 0 to {limits.zero:g} of the largest magnitude"
    if len(converged) == k and converged.all():
        return told, converged
    if len(converged) == k and krylov.exhausted:
        return f"{told}: the space is exhausted", converged
    if len(converged) == k and (residuals <= floor).all():
        return f"{told}: at the floor of {dtype}; pass dtype=torch.float64", converged
    if spent_all:
        return f"{told}: stopped by max_products={limits.max_products}", converged
    return "", converged


def check(operator: SymmetricOperator, tol: float, max_products: int) -> None:
    """Refuse a tolerance that the precision cannot hold, or no product at all."""
    number("tol", tol, above=0, below=1)
    number("max_products", max_products, at_least=1, integer=True)
    if tol < FLOOR[operator.dtype]:
        refuse("tol", tol, f"at least {FLOOR[operator.dtype]:g} in {operator.dtype}", "pass dtype=torch.float64")
