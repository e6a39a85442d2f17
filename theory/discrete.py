"""What discrete steps do that the flow does not: the step that crosses w = 0, and how β shrinks or drifts.

Each function is one exact law, which `theory.propositions.discretisation` proves.
"""

import numpy as np
from numpy.typing import ArrayLike

from commons import InputError, finite, number
from theory.arrays import Array


def escape_learning_rate(a: ArrayLike) -> Array:
    """The learning rate 2/a² above which a step of gradient descent from w < 0, with d = 1, lands on w > 0.

    a: finite array.   Returns float64, inf at a = 0.

    Raises:
        InputError: a value is not finite.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(2 / finite("a", a) ** 2)


def beta_after_steps(
    beta: ArrayLike, learning_rate: ArrayLike, gradients: ArrayLike, weight_decay: float = 0.0
) -> Array:
    """The β after steps of SGD without momentum on m and w, which is exactly β ∏ₖ((1 − ηₖλ)² − ηₖ²gₖ²).

    beta: array (...,).   learning_rate: number or array (K,).   gradients: ∂L/∂θ at each step, array (K, ...).
    weight_decay: coupled λ ≥ 0.   Returns float64 (...,).

    Raises:
        InputError: a value is not finite, gradients is a single number, or weight_decay is negative.
    """
    number("weight_decay", weight_decay, at_least=0)
    g = finite("gradients", gradients)
    if g.ndim == 0:
        raise InputError(f"gradients={float(g)!r} is not an array with one entry a step")
    rate = finite("learning_rate", learning_rate)
    rate = np.broadcast_to(rate, g.shape[:1]).reshape(-1, *[1] * (g.ndim - 1))
    factors = (1 - rate * weight_decay - rate * g) * (1 - rate * weight_decay + rate * g)
    return np.asarray(finite("beta", beta) * factors.prod(axis=0))


def beta_after_sign_steps(beta: ArrayLike, difference: ArrayLike, learning_rate: ArrayLike, growth: ArrayLike) -> Array:
    """The β = m² − w² after steps of sign descent on m and w, which is exactly β + 2λ Σₖ ηₖsₖ.

    Each step moves |m| and |w| by ηs together, so it keeps λ = |m| − |w|, unless a factor passes 0. Adam's steps are
    these in the limit of a small learning rate, where slopes change little within the 1/(1 − β₂) steps of its averages.

    beta, difference: β and λ at the start, arrays (...,).   learning_rate: number or array (K,).   growth: s of each
    step, 1 where |θ| grows, −1 where it shrinks and 0 where it stays, array (K, ...).   Returns float64 (...,).

    Raises:
        InputError: a value is not finite, or growth is a single number.
    """
    s = finite("growth", growth)
    if s.ndim == 0:
        raise InputError(f"growth={float(s)!r} is not an array with one entry a step")
    rate = finite("learning_rate", learning_rate)
    rate = np.broadcast_to(rate, s.shape[:1]).reshape(-1, *[1] * (s.ndim - 1))
    return np.asarray(finite("beta", beta) + 2 * finite("difference", difference) * (rate * s).sum(axis=0))


def beta_under_weight_decay(beta: ArrayLike, weight_decay: ArrayLike, time: ArrayLike) -> Array:
    """β(t) = β e^{−2λt}, the β after a time under the flow with coupled weight decay λ.

    Flow time is learning rate × steps.

    beta, weight_decay, time: finite arrays that broadcast.   Returns float64.

    Raises:
        InputError: a value is not finite.
    """
    return np.asarray(finite("beta", beta) * np.exp(-2 * finite("weight_decay", weight_decay) * finite("time", time)))
