"""Lanczos with full reorthogonalization and thick restarts: the largest or smallest eigenvalues, the default solver."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from commons.checks import choice, number, refuse
from sparse_training.sharpness.base import SymmetricOperator
from sparse_training.sharpness.bound import upper_bound
from sparse_training.sharpness.eigenpair import Beside, Eigenpair
from sparse_training.sharpness.krylov import Array, Krylov, Ritz, random_unit
from sparse_training.sharpness.rounding import with_rounding
from sparse_training.sharpness.stopping import BY_GAP, Limits, check, errors, verdict

# The second Ritz pair of a solve is worth keeping if its residual is at most this share of the first value.
RESOLVED = 0.1


def lanczos(operator: SymmetricOperator, **options: Any) -> Eigenpair:
    """The largest (or "smallest", see `which`) eigenvalue of operator: the first that `top` gives.

    options: all arguments of `top` but k.
    """
    return top(operator, 1, **options)[0]


def top(
    operator: SymmetricOperator,
    k: int,
    *,
    which: str = "largest",
    tol: float = 1e-3,
    start: Tensor | None = None,
    noise: float = 0.1,
    seed: int = 0,
    max_products: int = 1000,
    basis: int = 64,
    confidence: float = 0.99,
    second: float | None = None,
    share: float | None = None,
    zero: float = 0.0,
) -> list[Eigenpair]:
    """The k largest (or, as `which` says, "smallest") eigenvalues of operator, outermost first.

    tol: relative to each |λ|, at least 1e-6 in float32. start: (size,), of any length, mixed with a random direction
    `noise` times as long, which keeps every eigenvector within reach; None starts at random. seed: of random
    directions. max_products: products after which the solve ends unconverged. basis: most vectors held. confidence: of
    the upper bound. A pair is converged once its residual is RESIDUAL_LIMIT · tol · |λ|, or that of the precision if it
    is below tol.
    second, share: for `largest`, about how large λ₂ is, or which share of λ₁ it is at most, as known from elsewhere;
    with one of them the first pair is also converged once its error, see `errors`, is within the tolerance.
    zero: a value of at most this share of the largest magnitude need only be known to that share of it, since no
    relative error can be had of a 0.
    For k > 1 a second run from a random direction beside the k vectors looks for further copies of multiple ones.
    Every pair reports the products of the whole call, and the first an upper bound where no restart was needed.

    Raises:
        InputError: a value out of range, or a start without a direction.
    """
    check(operator, tol, max_products)
    sign = {"largest": 1, "smallest": -1}[choice("which", which, ("largest", "smallest"))]
    k = int(number("k", k, at_least=1, at_most=operator.size, integer=True))
    number("zero", zero, at_least=0, below=1)
    spent, before = operator.gradient_equivalents, operator.products
    first = random_unit(operator, seed)
    if start is not None:
        first = unit(operator, start) + noise * first
    limits = Limits(tol, max_products, second, share, zero)
    krylov = Krylov(operator, first, max(basis, 2 * k + 8), sign=sign, seed=seed)
    ritz, reason, converged = _grown(krylov, k, limits, seed)
    bound = float("nan")
    if not krylov.restarted:
        random = 1.0 if start is None else noise / (1 + noise)
        bound = sign * upper_bound(ritz.values, np.array(krylov.betas), operator.size, random, confidence)
    bounds, targets = errors(ritz, k, limits), limits.targets(ritz, k)
    vectors = krylov.vectors(ritz.coordinates[:, : max(k, 2)])
    pairs = [
        Eigenpair(
            value=sign * float(ritz.values[i]),
            vector=vectors[i],
            residual=float(ritz.residuals[i]),
            error=float(bounds[i]),
            hvps=operator.products - before,
            gradient_equivalents=operator.gradient_equivalents - spent,
            converged=bool(converged[i]),
            reason=reason,
            upper_bound=bound if i == 0 else float("nan"),
            confidence=confidence,
            beside=_beside(ritz, vectors) if i == 0 else None,
        )
        for i in range(min(k, krylov.steps))
    ]
    pairs = [with_rounding(operator, pair, float(target)) for pair, target in zip(pairs, targets, strict=False)]
    return [replace(pair, gradient_equivalents=operator.gradient_equivalents - spent) for pair in pairs]


def _grown(krylov: Krylov, k: int, limits: Limits, seed: int) -> tuple[Ritz, str, Any]:
    """Grow the space until it may end, and return the last Ritz pairs, why it ended, and which are converged."""
    operator, before = krylov.operator, krylov.operator.products
    found: Array | None = None  # values before the present search for copies
    residual, settled = math.inf, False
    while True:
        krylov.grow()
        ritz = krylov.ritz()
        spent_all = operator.products - before >= limits.max_products
        reason, converged = verdict(krylov, ritz, k, limits, spent_all)
        # A share of an earlier network is believed if one product more halves the residual: that of two eigenvalues
        # which look like one falls no further than to a part of their distance.
        earlier, residual = residual, float(ritz.residuals[0])
        by_gap = limits.share is not None and reason.startswith(BY_GAP) and not spent_all
        if by_gap and not (settled and residual <= earlier / 2):
            settled = True
            continue
        if reason and converged.all() and k > 1 and operator.size > k:
            if not krylov.exhausted and found is not None and not _apart(ritz, k) and krylov.steps < krylov.capacity:
                continue
            if found is not None and np.allclose(found, ritz.values[:k], rtol=limits.tol):
                return ritz, reason, converged
            found = ritz.values[:k]
            krylov.restart(ritz, k, random_unit(operator, seed, "copies", operator.products))
        elif reason:
            return ritz, reason, converged
        elif krylov.exhausted:  # with fewer than k pairs: eigenvalues that are one and the same show once a start
            krylov.restart(ritz, krylov.steps, random_unit(operator, seed, "exhausted", operator.products))
        elif krylov.steps == krylov.capacity:
            krylov.restart(ritz, max(krylov.capacity // 2, k + 1))


def _beside(ritz: Ritz, vectors: Tensor) -> Beside | None:
    """The second Ritz pair, where it is resolved and the first value is positive."""
    if len(ritz.values) < 2 or ritz.values[0] <= 0 or ritz.residuals[1] > RESOLVED * ritz.values[0]:
        return None
    return Beside(float(ritz.values[1] / ritz.values[0]), vectors[1])


def unit(operator: SymmetricOperator, start: Tensor) -> Tensor:
    """The start (size,) as a unit vector of the operator; InputError where it has another shape, or no direction."""
    if start.shape != (operator.size,):
        refuse("start", tuple(start.shape), f"of shape ({operator.size},)")
    start = start.to(operator.device, operator.dtype)
    length = float(start.norm())
    if not 0 < length < math.inf:
        refuse("start", f"of length {length}", "a finite vector that is not zero")
    return start / length


def _apart(ritz: Ritz, k: int) -> bool:
    """Whether the largest value beside the first k is resolved well enough to lie below them."""
    return len(ritz.values) > k and bool(ritz.residuals[k] <= 0.1 * (ritz.values[k - 1] - ritz.values[k]))
