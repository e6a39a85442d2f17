"""Look at a few samples before all of them are asked: they show where to start and about how large λ₂ is.

What is found here is a direction and a guess; whether an eigenvalue has converged is decided by the solver.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparse_training.sharpness.krylov import Krylov, Ritz, random_unit
from sparse_training.sharpness.operator import HessianOperator

# The look takes so many samples that they carry the share COVER of the pull Σ‖∂loss/∂output‖. They must be at least
# FEWEST and at most one in SHARE of all samples; otherwise what they show says nothing about the others, or costs too
# much.
COVER, FEWEST, SHARE = 0.6, 64, 8
# Where all samples pull alike, as at an initialization, one in SHARE is drawn at random, at least FEWEST_DRAWN of them.
# A draw is believed where its λ₂, with the residual, is at most APART_DRAWN·λ₁, and it counts DRAWN times. Of 893
# untrained networks of two blocks with λ₁ ≈ λ₂ three looked so, each with inputs of very different sizes, and none of
# their solves was wrong; at 0.6 one more did, and one of its three was.
FEWEST_DRAWN, APART_DRAWN, DRAWN = 128, 0.55, 1.25
# A look takes STEPS products, or fewer once the residuals of the first two Ritz pairs are within ENOUGH·λ₁. A Ritz pair
# counts as known after them if its residual is within RESOLVED·λ₁.
STEPS, RESOLVED, ENOUGH = 8, 0.1, (1e-4, 1e-2)
# The ratio λ₂/λ₁ on the few samples decides: up to APART it is believed, up to NEAR one product over all samples
# measures λ₂, and beyond NEAR λ₂ is too close for the solve to end any earlier.
APART, NEAR = 0.5, 0.7
# The start holds this share of the second direction: if both eigenvalues are equal, it must not be out of reach. After
# a draw it holds as much of the gradient over all samples, which has a part along what the draw has missed.
MIX = 0.1


@dataclass(frozen=True, eq=False)
class Scout:
    """What a few samples show.

    direction: (size,), the unit eigenvector of the largest eigenvalue on these samples. beside: (size,), what the start
    holds beside it: MIX times the second eigenvector where its eigenvalue is not far below the first, and after a draw
    MIX times the gradient's direction. second: about how large λ₂ of all samples is, infinite where it is close to λ₁
    or unknown. share: λ₂ on these samples, with its residual, as a share of their λ₁.
    """

    direction: Tensor
    beside: Tensor
    second: float
    share: float


def scout(hessian: HessianOperator, seed: int) -> Scout | None:
    """Run Lanczos from a random start on the hardest samples, or where all pull alike on a random draw of them.

    Its work is added to that of the operator. The result is None where no few samples stand for all, where they show no
    clear direction, or where a draw shows λ₂ close to λ₁: there the direction of a draw would only hide the other one.
    """
    most = hessian.samples // SHARE
    if hessian.size < STEPS or most < FEWEST or not hessian.divisible:
        return None
    carrying = max(hessian.carrying(COVER), FEWEST)
    if carrying <= most:
        return _of_the_hardest(hessian, hessian.hardest(carrying), seed)
    return _of_a_draw(hessian, hessian.drawn(most, seed), seed) if most >= FEWEST_DRAWN else None


def _of_the_hardest(hessian: HessianOperator, part: HessianOperator, seed: int) -> Scout | None:
    """What the samples with the largest pull show.

    Where λ₂ is neither far below λ₁ nor close to it on these samples, one product over all samples measures the second
    eigenvector: its Rayleigh quotient plus its residual is at least some eigenvalue.
    """
    ritz, direction, beside = _look(hessian, part, seed)
    if not _clear(ritz):
        return None
    share = float((ritz.values[1] + ritz.residuals[1]) / ritz.values[0])
    if ritz.values[1] <= APART * ritz.values[0]:
        return Scout(direction, 0 * beside, float(ritz.values[1]) * part.weight / hessian.weight / COVER, share)
    if ritz.values[1] > NEAR * ritz.values[0]:
        return Scout(direction, MIX * beside, math.inf, share)
    image = hessian @ beside
    value = float(beside @ image)
    return Scout(direction, MIX * beside, value + float((image - value * beside).norm()), share)


def _of_a_draw(hessian: HessianOperator, part: HessianOperator, seed: int) -> Scout | None:
    """What a random draw shows, whose mean loss estimates that of all samples."""
    ritz, direction, beside = _look(hessian, part, seed)
    second = float(ritz.values[1] + ritz.residuals[1]) if _clear(ritz) else math.inf
    if second > APART_DRAWN * ritz.values[0]:
        return None
    slope = hessian.gradient * (direction @ hessian.gradient).sign()
    beside = beside + slope / slope.norm().clamp_min(torch.finfo(slope.dtype).tiny)
    return Scout(direction, MIX * beside, DRAWN * second, second / float(ritz.values[0]))


def _look(hessian: HessianOperator, part: HessianOperator, seed: int) -> tuple[Ritz, Tensor, Tensor]:
    """The Ritz pairs of a part of the samples, and the first two vectors (size,), of which the second may be 0."""
    krylov = Krylov(part, random_unit(part, seed, "scout"), STEPS)
    krylov.grow()
    ritz = krylov.ritz()
    while krylov.steps < STEPS and not krylov.exhausted:
        krylov.grow()
        ritz = krylov.ritz()
        if krylov.steps > 2 and (ritz.residuals[:2] <= np.array(ENOUGH) * ritz.values[0]).all():
            break
    hessian.spend(part.gradient_equivalents * part.samples / hessian.samples)
    vectors = krylov.vectors(ritz.coordinates[:, :2])
    return ritz, vectors[0], vectors[1] if len(vectors) > 1 else 0 * vectors[0]


def _clear(ritz: Ritz) -> bool:
    return len(ritz.values) > 1 and bool((ritz.residuals[:2] <= RESOLVED * ritz.values[0]).all())
