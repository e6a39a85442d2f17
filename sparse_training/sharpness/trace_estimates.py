"""Stochastic estimates of the trace from products alone, each with a confidence interval."""

import torch
from torch import Tensor

from commons.checks import choice, number
from commons.statistics import Interval, mean_interval
from sparse_training.seeding import generator
from sparse_training.sharpness.base import SymmetricOperator


def trace(
    operator: SymmetricOperator,
    *,
    products: int = 60,
    method: str = "hutch++",
    confidence: float = 0.99,
    seed: int = 0,
) -> Interval:
    """The trace of an operator and its interval, from `products` products, with random signs drawn from `seed`.

    method: "hutchinson" (1990), the mean of zᵀAz over random signs z; or "hutch++" (Meyer, Musco, Musco & Woodruff
    2021, algorithm 1), which takes the trace on a sketched range exactly and estimates only the rest. The interval is
    Student's t over the probes, and its `n` is their number.

    Raises:
        InputError: fewer than 6 products, confidence outside (0, 1), or an unknown method.
    """
    number("products", products, at_least=6, integer=True)
    choice("method", method, ("hutchinson", "hutch++"))
    draw = generator(seed, "trace")
    sketch = min(products // 3, operator.size) if method == "hutch++" else 0
    if sketch == operator.size:
        exact = sum(float((operator @ row)[i]) for i, row in enumerate(_identity(operator)))
        return Interval(exact, exact, exact, operator.size)
    known, basis = 0.0, torch.zeros(operator.size, 0, dtype=operator.dtype, device=operator.device)
    if sketch:
        images = torch.stack([operator @ _signs(operator, draw) for _ in range(sketch)], dim=1)
        basis = torch.linalg.qr(images).Q
        known = sum(_quadratic(operator, column) for column in basis.T)
    values = []
    for _ in range(products - 2 * sketch):
        z = _signs(operator, draw)
        values.append(_quadratic(operator, z - basis @ (basis.T @ z)))
    rest = mean_interval(values, confidence)
    return Interval(known + rest.mean, known + rest.low, known + rest.high, rest.n)


def _signs(operator: SymmetricOperator, draw: torch.Generator) -> Tensor:
    bits = torch.randint(0, 2, (operator.size,), generator=draw)
    return (2 * bits - 1).to(operator.device, operator.dtype)


def _quadratic(operator: SymmetricOperator, v: Tensor) -> float:
    return float(v.double() @ (operator @ v).double())


def _identity(operator: SymmetricOperator) -> Tensor:
    return torch.eye(operator.size, dtype=operator.dtype, device=operator.device)
