"""`max_eigenvalue`: from a network, a loss and samples to λ_max in one call.

It never returns a bare number.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import choice
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
    **operator: Any,
) -> Eigenpair:
    """Largest eigenvalue of the Hessian of the mean loss in the active weights (evaluation mode, no weight decay).

    method: "lanczos" or "power". tol: relative. start: a vector to begin from, e.g. of an earlier checkpoint. operator:
    further arguments of `HessianOperator` (params, curvature, graph, chunk, memory, dtype, group).
    """
    choice("method", method, METHODS)
    hessian = HessianOperator(model, loss, data, masks, **operator)
    solver = {"lanczos": lanczos, "power": power_iteration}[method]
    begin = first_vector(hessian, seed) if start is None else start
    pair = solver(hessian, tol=tol, start=begin, seed=seed, max_products=max_products)
    return replace(pair, gradient_equivalents=hessian.gradient_equivalents)


def first_vector(operator: HessianOperator, seed: int) -> Tensor:
    """A random direction plus the gradient's, as long: the gradient leans to the top of the spectrum and costs nothing.

    The random part keeps every eigenvector within reach.
    """
    slope, draw = operator.gradient, random_unit(operator, seed)
    length = slope.norm()
    return draw + slope / length if bool(length > torch.finfo(slope.dtype).tiny) else draw
