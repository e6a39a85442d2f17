"""Power iteration: the eigenvalue of largest magnitude, and by a shift the largest one."""

from dataclasses import replace

from torch import Tensor

from commons.checks import choice
from sparse_training.sharpness.base import FLOOR, SymmetricOperator
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.krylov import random_unit
from sparse_training.sharpness.rounding import with_rounding
from sparse_training.sharpness.stopping import check


def power_iteration(
    operator: SymmetricOperator,
    *,
    which: str = "largest",
    tol: float = 1e-3,
    start: Tensor | None = None,
    seed: int = 0,
    max_products: int = 1000,
) -> Eigenpair:
    """Iterate v ← Hv/‖Hv‖, where H is the operator, until ‖Hv − λv‖ ≤ tol·|λ|.

    Where the largest magnitude belongs to a negative λ₋, "largest" goes on with H − λ₋, whose largest magnitude belongs
    to λ_max; the tolerance stays relative to |λ_max|. start: (size,), of any length; None draws one from seed.
    which: "magnitude" for the eigenvalue of largest magnitude, or "largest". max_products: products after which it ends
    unconverged.

    Raises:
        InputError: an unknown `which`, or a start without a direction.
    """
    check(operator, tol, max_products)
    choice("which", which, ("largest", "magnitude"))
    start = random_unit(operator, seed) if start is None else start
    pair = _iterate(operator, start, 0.0, tol, max_products)
    if which == "magnitude" or pair.value >= 0:
        return pair
    if not pair.converged:
        return replace(pair, reason=f"largest magnitude, negative: {pair.reason}")
    left = max_products - pair.hvps
    again = _iterate(operator, random_unit(operator, seed, "shifted"), -pair.value, tol, left)
    return replace(
        again,
        hvps=again.hvps + pair.hvps,
        gradient_equivalents=again.gradient_equivalents + pair.gradient_equivalents,
        reason=f"{again.reason}; shifted by the eigenvalue of largest magnitude, {pair.value:.4g}",
    )


def _iterate(operator: SymmetricOperator, start: Tensor, shift: float, tol: float, max_products: int) -> Eigenpair:
    """Power iteration with H + shift; value and residual are those of H."""
    spent, before = operator.gradient_equivalents, operator.products
    v, scale = start.to(operator.device, operator.dtype), 0.0
    while True:
        v = v / v.double().norm().to(v.dtype)
        image = operator @ v
        value = float(v.double() @ image.double())
        residual = float((image.double() - value * v.double()).norm())
        scale = max(scale, float(image.double().norm()))
        target, floor = tol * abs(value), FLOOR[operator.dtype] * scale
        products = operator.products - before
        if residual <= target or residual <= floor or products >= max_products:
            break
        v = image + shift * v
    reason = f"residual {residual:.1e} <= {target:.1e}"
    if residual > target:
        reason = f"residual {residual:.1e} > {target:.1e} after max_products={max_products}"
        if residual <= floor:
            reason = f"residual {residual:.1e} is at the floor of {operator.dtype}; pass dtype=torch.float64"
    pair = Eigenpair(
        value=value,
        vector=v,
        residual=residual,
        error=residual,
        hvps=products,
        gradient_equivalents=operator.gradient_equivalents - spent,
        converged=residual <= target,
        reason=reason,
    )
    pair = with_rounding(operator, pair, target)
    return replace(pair, gradient_equivalents=operator.gradient_equivalents - spent)
