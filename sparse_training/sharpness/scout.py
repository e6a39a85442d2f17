"""Look at the hardest samples before all of them are asked: they show where to start and about how large λ₂ is.

What is found here is a direction and a guess; whether an eigenvalue has converged is decided by the solver.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from sparse_training.sharpness.krylov import Krylov, random_unit
from sparse_training.sharpness.operator import HessianOperator

# The look takes so many samples that they carry the share COVER of the pull Σ‖∂loss/∂output‖. They must be at least
# FEWEST and at most one in SHARE of all samples; otherwise what they show says nothing about the others, or costs too
# much.
COVER, FEWEST, SHARE = 0.6, 64, 8
# A look takes STEPS products. A Ritz pair counts as known after them if its residual is within RESOLVED·λ₁.
STEPS, RESOLVED = 8, 0.1
# The ratio λ₂/λ₁ on the few samples decides: up to APART it is believed, up to NEAR one product over all samples
# measures λ₂, and beyond NEAR λ₂ is too close for the solve to end any earlier.
APART, NEAR = 0.5, 0.7
# The start holds this share of the second direction: if both eigenvalues are equal, it must not be out of reach.
MIX = 0.1


@dataclass(frozen=True, eq=False)
class Scout:
    """What the hardest samples show.

    direction: (size,), the unit eigenvector of the largest eigenvalue on these samples. beside: (size,), the second
    eigenvector times MIX, or 0 where its eigenvalue is far below the first. second: about how large λ₂ of all samples
    is, infinite where it is close to λ₁ or unknown. gradient_equivalents: the work, in gradients over all samples.
    """

    direction: Tensor
    beside: Tensor
    second: float
    gradient_equivalents: float


def scout(hessian: HessianOperator, seed: int) -> Scout | None:
    """Run Lanczos from a random start on the hardest samples.

    Where λ₂ is neither far below λ₁ nor close to it on these samples, one product over all samples measures the second
    eigenvector: its Rayleigh quotient plus its residual is at least some eigenvalue. The result is None where no few
    samples stand for all, or where they show no clear direction.
    """
    n = max(hessian.carrying(COVER), FEWEST)
    if n > hessian.samples // SHARE or hessian.size < STEPS:
        return None
    part = hessian.hardest(n)
    krylov = Krylov(part, random_unit(part, seed, "scout"), STEPS)
    while krylov.steps < STEPS and not krylov.exhausted:
        krylov.grow()
    ritz = krylov.ritz()
    if krylov.steps < 2 or (ritz.residuals[:2] > RESOLVED * ritz.values[0]).any():
        return None
    share = part.weight / hessian.weight
    spent = part.gradient_equivalents * n / hessian.samples
    direction, beside = krylov.vectors(ritz.coordinates[:, :2])
    if ritz.values[1] <= APART * ritz.values[0]:
        return Scout(direction, 0 * beside, float(ritz.values[1]) * share / COVER, spent)
    if ritz.values[1] > NEAR * ritz.values[0]:
        return Scout(direction, MIX * beside, math.inf, spent)
    image = hessian @ beside
    value = float(beside @ image)
    return Scout(direction, MIX * beside, value + float((image - value * beside).norm()), spent)
