"""`max_eigenvalue`: from a network, a loss and samples to λ_max in one call.

It never returns a bare number.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import choice
from sparse_training.seeding import derive
from sparse_training.sharpness.batches import Data
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.krylov import random_unit
from sparse_training.sharpness.lanczos import lanczos
from sparse_training.sharpness.operator import HessianOperator, Loss
from sparse_training.sharpness.power import power_iteration

METHODS = ("lanczos", "power")


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

    method: "lanczos" or "power". tol: relative. start: a vector to begin from, e.g. of an earlier checkpoint. operator:
    further arguments of `HessianOperator` (params, curvature, graph, chunk, memory, dtype, group). second_start: solve
    again from an independent random direction and return the larger value, converged only if the two agree.
    """
    choice("method", method, METHODS)
    hessian = HessianOperator(model, loss, data, masks, **operator)
    begin, noise = (first_vector(hessian, seed), 0.5) if start is None else (start, 0.1)
    limits: dict[str, Any] = {"tol": tol, "max_products": max_products}
    if method == "lanczos":
        pair = lanczos(hessian, start=begin, noise=noise, seed=seed, **limits)
        again = lanczos(hessian, seed=derive(seed, "second start"), **limits) if second_start else None
    else:
        pair = power_iteration(hessian, start=start, seed=seed, **limits)
        again = power_iteration(hessian, seed=derive(seed, "second start"), **limits) if second_start else None
    if again is not None:
        pair = _agreed(pair, again, tol)
    return replace(pair, gradient_equivalents=hessian.gradient_equivalents)


def _agreed(first: Eigenpair, second: Eigenpair, tol: float) -> Eigenpair:
    larger = max(first, second, key=lambda pair: pair.value)
    agree = abs(first.value - second.value) <= 2 * tol * abs(larger.value)
    return replace(
        larger,
        hvps=first.hvps + second.hvps,
        converged=first.converged and second.converged and agree,
        reason=f"{larger.reason}; two independent starts gave {first.value:.6g} and {second.value:.6g}",
    )


def first_vector(operator: HessianOperator, seed: int) -> Tensor:
    """The gradient, which leans to the top of the spectrum and costs nothing; a random direction where it vanishes."""
    slope = operator.gradient
    vanishes = not bool(slope.norm() > torch.finfo(slope.dtype).tiny)
    return random_unit(operator, seed, "first") if vanishes else slope
