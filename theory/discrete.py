"""What discrete steps do that the flow does not: the step that crosses w = 0, and how β shrinks.

Each function is one exact law, proved in `theory.propositions.discretisation`; none iterates a training loop.
"""

import numpy as np
from numpy.typing import ArrayLike

from commons import InputError, finite, number
from theory.arrays import Array


def escape_learning_rate(a: ArrayLike) -> Array:
    """2/a²: gradient descent on d = 1 from w < 0 lands on w > 0 in its next step iff the step exceeds this.

    a: finite array.   Returns float64, inf at a = 0.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(2 / finite("a", a) ** 2)


def beta_after_steps(
    beta: ArrayLike, learning_rate: ArrayLike, gradients: ArrayLike, weight_decay: float = 0.0
) -> Array:
    """β after steps of SGD without momentum on m and w: β ∏ₖ((1 − ηₖλ)² − ηₖ²gₖ²), exact.

    beta: array (...,).   learning_rate: number or array (K,).   gradients: ∂L/∂θ at each step, array (K, ...).
    weight_decay: coupled λ ≥ 0.   Returns float64 (...,).
    """
    number("weight_decay", weight_decay, at_least=0)
    g = finite("gradients", gradients)
    if g.ndim == 0:
        raise InputError(f"gradients={float(g)!r} is not an array with one entry a step")
    rate = finite("learning_rate", learning_rate)
    rate = np.broadcast_to(rate, g.shape[:1]).reshape(-1, *[1] * (g.ndim - 1))
    factors = (1 - rate * weight_decay - rate * g) * (1 - rate * weight_decay + rate * g)
    return np.asarray(finite("beta", beta) * factors.prod(axis=0))


def beta_under_weight_decay(beta: ArrayLike, weight_decay: ArrayLike, time: ArrayLike) -> Array:
    """β(t) = β e^{−2λt}, with coupled weight decay λ in the flow; time in flow time (learning rate × steps).

    beta, weight_decay, time: finite arrays that broadcast.   Returns float64.
    """
    return np.asarray(finite("beta", beta) * np.exp(-2 * finite("weight_decay", weight_decay) * finite("time", time)))
