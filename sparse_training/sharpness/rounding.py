"""What float32 does to an eigenvalue: its rounding is measured and added to the error, for each pair a solver returns.

The residual of a solver tells nothing of it: all its products are those of the rounded network. So some samples are
asked again, in float32 and in float64. If their difference is near the tolerance, one product over all samples in
float64 gives the residual and the Rayleigh quotient without rounding.
"""

from dataclasses import replace

from sparse_training.sharpness.base import EXACT, FLOOR, UNKNOWN, SymmetricOperator
from sparse_training.sharpness.eigenpair import Eigenpair

# Share of the tolerance that the estimate from some samples may take before all of them are asked.
NEAR = 0.5


def with_rounding(operator: SymmetricOperator, pair: Eigenpair, target: float) -> Eigenpair:
    """Return the pair with an error that covers rounding, no longer converged if that exceeds the target.

    pair: its error is a bound in exact arithmetic: the residual, or less where residual²/gap is known. Where the
    network cannot run in float64, the reason says so and the error leaves rounding out.
    """
    try:
        return _measured(operator, pair, target)
    except (RuntimeError, TypeError) as error:
        told = f"rounding could not be measured: {' '.join(str(error).split())[:120]}"
        floor = FLOOR[operator.dtype] * abs(pair.value)
        return replace(pair, error=max(pair.error, floor), reason=f"{pair.reason}; {told}")


def _measured(operator: SymmetricOperator, pair: Eigenpair, target: float) -> Eigenpair:
    floor, unseen = FLOOR[operator.dtype] * abs(pair.value), operator.unseen * abs(pair.value)
    # What cannot be as small as asked is not estimated.
    estimate = UNKNOWN if unseen > NEAR * target else operator.rounding(pair.vector)
    if estimate == EXACT:
        return replace(pair, error=max(pair.error, floor))
    by_gap = pair.error < pair.residual  # a multiple of residual²/gap; the value is as wrong as the Rayleigh quotient
    rounded = max(estimate.value if by_gap else estimate.vector, unseen)
    error = rounded + (_grown(pair, pair.residual + estimate.vector) if by_gap else pair.error)
    if rounded > NEAR * target or error > target:
        vector = pair.vector.double()
        vector = vector / vector.norm()
        image = operator.in_float64(vector)
        value = float(vector @ image)
        residual = float((image - value * vector).norm())
        error = abs(value - pair.value) + min(residual, _grown(pair, residual))
    if error <= target or not pair.converged:
        return replace(pair, error=max(error, floor))
    told = f"rounding in {operator.dtype} leaves an error of {error:.1e}, tolerance {target:.1e}"
    return replace(pair, error=max(error, floor), converged=False, reason=f"{told}; pass dtype=torch.float64")


def _grown(pair: Eigenpair, residual: float) -> float:
    """The bound of a pair for a larger residual, with whose square residual²/gap grows."""
    return pair.error * max(1.0, residual / pair.residual) ** 2 if pair.residual else residual
