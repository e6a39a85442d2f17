"""A look at the hardest samples before all of them are asked: where to start, and about how large λ₂ is.

It decides nothing about convergence: what it finds is a direction and evidence, never a value.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from sparse_training.sharpness.krylov import Krylov, random_unit
from sparse_training.sharpness.operator import HessianOperator

# Samples enough to carry COVER of the pull Σ‖∂loss/∂output‖, at least FEWEST and at most one in SHARE; with less, what
# they show says nothing about the others.
COVER, FEWEST, SHARE = 0.6, 64, 8
# Products of a look, after which a Ritz pair counts as known if its residual is within RESOLVED·λ₁.
STEPS, RESOLVED = 8, 0.1
# λ₂/λ₁ of the few up to which it is believed, and above that up to which one product over all samples measures it:
# beyond, λ₂ is too close for the solve to end any earlier.
APART, NEAR = 0.5, 0.7
# Share of the second direction in the start: were both eigenvalues one and the same, it must not be out of reach.
MIX = 0.1


@dataclass(frozen=True, eq=False)
class Scout:
    """What was seen.

    direction, beside: (size,), unit vectors to the top two of the spectrum on the hardest samples, the second scaled by
    MIX, or 0 where it lies far below. second: about λ₂ of all samples, infinite where it is close or unknown.
    gradient_equivalents: the work on the few, in gradients over all samples.
    """

    direction: Tensor
    beside: Tensor
    second: float
    gradient_equivalents: float


def scout(hessian: HessianOperator, seed: int) -> Scout | None:
    """Lanczos from a random start on the hardest samples; None where these are too few, or show no clear direction.

    A second eigenvector that is neither far below nor close on the few is tried on all samples: its Rayleigh quotient
    and residual bound an eigenvalue.
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
    share = n / hessian.samples
    spent = part.gradient_equivalents * share
    direction, beside = krylov.vectors(ritz.coordinates[:, :2])
    if ritz.values[1] <= APART * ritz.values[0]:
        return Scout(direction, 0 * beside, float(ritz.values[1]) * share / COVER, spent)
    if ritz.values[1] > NEAR * ritz.values[0]:
        return Scout(direction, MIX * beside, math.inf, spent)
    image = hessian @ beside
    value = float(beside @ image)
    return Scout(direction, MIX * beside, value + float((image - value * beside).norm()), spent)
