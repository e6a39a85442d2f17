"""`max_eigenvalue`: from a network, a loss and samples to λ_max with its error, in one call."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import choice
from sparse_training.seeding import derive
from sparse_training.sharpness.batches import Data
from sparse_training.sharpness.eigenpair import Beside, Eigenpair
from sparse_training.sharpness.krylov import random_unit
from sparse_training.sharpness.losses import Loss
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.power import power_iteration
from sparse_training.sharpness.scout import MIX, scout
from sparse_training.sharpness.thick_restart import lanczos, unit

SOLVERS = ("lanczos", "power")
# The eigenvector of an earlier network is as good a start as that of a few samples of this one, if the cosine between
# them is at least this.
ALIGNED = 0.9
# What an earlier network tells of λ₂/λ₁ is believed if the ratio on a few samples of this one is at most this.
CLOSE = 0.9


def max_eigenvalue(
    model: nn.Module,
    loss: Loss,
    data: Data,
    masks: Mapping[str, Tensor] | None = None,
    *,
    method: str = "lanczos",
    tol: float = 1e-3,
    seed: int = 0,
    start: Tensor | None = None,
    max_products: int = 1000,
    second_start: bool = False,
    **operator: Any,
) -> Eigenpair:
    """Largest eigenvalue of the Hessian of the mean loss in the active weights (evaluation mode, no weight decay).

    model, loss, data, masks: as in `HessianOperator`. method: "lanczos" or "power". tol: relative. seed: of random
    directions. max_products: Hessian-vector products after which the solve ends unconverged. start: a vector to begin
    from, e.g. of an earlier checkpoint. operator: further arguments of `HessianOperator` (params, curvature, graph,
    chunk, memory, dtype, group). second_start: solve again from an independent random direction and return the larger
    value, converged only if the two agree.

    Raises:
        InputError: an unknown method, or as `HessianOperator`.
    """
    choice("method", method, SOLVERS)
    hessian = HessianOperator(model, loss, data, masks, **operator)
    limits: dict[str, Any] = {"tol": tol, "max_products": max_products}
    solve = lanczos if method == "lanczos" else power_iteration
    if method == "lanczos":
        pair = largest(hessian, start, seed=seed, **limits)
    else:
        pair = power_iteration(hessian, start=start, seed=seed, **limits)
        pair = replace(pair, gradient_equivalents=hessian.gradient_equivalents)
    if second_start:
        pair = _agreed(pair, solve(hessian, seed=derive(seed, "second start"), **limits), tol)
    return pair


def largest(
    hessian: HessianOperator,
    start: Tensor | None = None,
    *,
    beside: Beside | None = None,
    tol: float = 1e-3,
    seed: int = 0,
    max_products: int = 1000,
) -> Eigenpair:
    """Return λ_max by Lanczos after a look at a few samples; it counts all work since the operator was made.

    Lanczos starts where those samples point, at `start` if that is nearly the same direction, and between the two if
    it is not. If the samples show no clear direction, it starts at `start`, or without one at the gradient, which leans
    to the top of the spectrum and costs nothing.
    beside: of the solve that `start` is from. The start holds MIX of its vector too, so that an eigenvalue which has
    grown there is seen. Where the samples do not tell how large λ₂ is among all, but show it below CLOSE · λ₁ among
    themselves, it is taken to be the share of λ₁ that it was.
    """
    seen = scout(hessian, seed)
    start = None if start is None else unit(hessian, start)
    noise = 0.1
    if seen:
        start = _between(start, seen.direction) + seen.beside
    elif start is None:
        start, noise = first_vector(hessian, seed), 0.5
    if beside is not None:
        start = start / start.norm() + MIX * unit(hessian, beside.vector)
    second = share = None
    if seen and not math.isinf(seen.second):
        second = seen.second
    elif seen and beside is not None and seen.share <= CLOSE:
        share = beside.share
    pair = lanczos(
        hessian,
        tol=tol,
        start=start,
        noise=noise,
        seed=seed,
        max_products=max(max_products - hessian.products, 1),
        second=second,
        share=share,
    )
    return replace(pair, hvps=hessian.products, gradient_equivalents=hessian.gradient_equivalents)


def _between(start: Tensor | None, direction: Tensor) -> Tensor:
    """The unit start where it is nearly a unit direction, else their sum; the direction where there is no start."""
    if start is None:
        return direction
    along = cosine(start, direction)
    both = start if along > 0 else -start
    if abs(along) < ALIGNED:
        both = both + direction
    unit_both: Tensor = both / both.norm()
    return unit_both


def _agreed(first: Eigenpair, second: Eigenpair, tol: float) -> Eigenpair:
    larger = max(first, second, key=lambda pair: pair.value)
    agree = abs(first.value - second.value) <= 2 * tol * abs(larger.value)
    return replace(
        larger,
        hvps=first.hvps + second.hvps,
        gradient_equivalents=first.gradient_equivalents + second.gradient_equivalents,
        converged=first.converged and second.converged and agree,
        reason=f"{larger.reason}; two independent starts gave {first.value:.6g} and {second.value:.6g}",
    )


def cosine(a: Tensor, b: Tensor) -> float:
    """Return the cosine of the angle between two vectors (size,)."""
    return float(a @ b / (a.norm() * b.norm()))


def first_vector(operator: HessianOperator, seed: int) -> Tensor:
    """Return the gradient, which leans to the top of the spectrum; or a random direction where it vanishes."""
    slope = operator.gradient
    vanishes = not bool(slope.norm() > torch.finfo(slope.dtype).tiny)
    return random_unit(operator, seed, "first") if vanishes else slope
