"""The standard flow in closed form: (a + w)² and (a − w)² are logistic on w > 0, a² and w² on w < 0.

These are the formulas behind `theory.timing`; all arrays are float64 of one shape.
"""

import numpy as np

from theory.arrays import Array


def time_above(a: Array, w: Array, goal: Array, distance: Array) -> Array:
    """The time on w > 0 until aw = goal, where distance = |1 − goal| in full precision.

    y = (a + w)² obeys a logistic equation whose roots are y± = 2 ± R with R = √(4 + c²). The time is 2/R times the
    logarithm of the cross-ratio of the two values of y with those roots. On a = −w, where y = 0, (a − w)² takes its
    place.
    """
    c, root = _constants(a, w)
    start = (a + w) ** 2
    width = np.hypot(c, 2 * goal)
    end = np.where(goal < 0, c * c / np.where(goal < 0, width - 2 * goal, 1.0), 2 * goal + width)
    below_root = c * c / (root + 2)  # −y₋
    toward = np.copysign(distance, 1 - goal) * (2 + 4 * (1 + goal) / (root + width))  # y₊ − y(goal)
    away = (1 - a * w) * (2 + 4 * (1 + a * w) / (root + np.hypot(c, 2 * a * w)))  # y₊ − y(start)
    on_saddle = start == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        time = 2 / root * np.log(away * (end + below_root) / (toward * (start + below_root)))
        square = (a - w) ** 2
        saddle = np.log(square * (4 - 4 * goal) / (-4 * goal * (square + 4)))
    return np.where(on_saddle, saddle, time)


def time_below(a: Array, w: Array, goal: Array) -> Array:
    """The time on w < 0 until |aw| = goal: (2/c)(arsinh(c/(2·goal)) − arsinh(c/(2|aw|))), with its limit at c = 0."""
    c = (a - w) * (a + w)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        end, start = 1 / goal, 1 / np.abs(a * w)
        gap = (end - start) * (end + start) / (end * np.hypot(1, c * start / 2) + start * np.hypot(1, c * end / 2))
        time = np.where(c == 0, gap, 2 / c * np.arcsinh(c / 2 * gap))
    return np.where(goal > 0, time, np.inf)


def point_above(time: Array, a: Array, w: Array) -> tuple[Array, Array]:
    """(a, w) after a time on w > 0; a trajectory that has come to w = 0 rests there."""
    c, root = _constants(a, w)
    tau = np.tanh(root * time / 4)
    slack = c * c / (root + 2) + 4 / (np.exp(np.minimum(root * time / 2, 700.0)) + 1)  # R − 2τ
    plus, minus = (a + w) ** 2, (a - w) ** 2
    total = np.sign(a + w) * np.sqrt((plus * slack + tau * (4 * plus + c * c)) / (slack + tau * plus))
    gap = np.sign(a - w) * np.sqrt((minus * slack + tau * c * c) / (root + tau * (minus + 2)))
    stuck = total <= gap
    rest = np.copysign(np.sqrt(np.maximum(c, 0.0)), a)
    return np.where(stuck, rest, (total + gap) / 2), np.where(stuck, 0.0, (total - gap) / 2)


def point_below(time: Array, a: Array, w: Array) -> tuple[Array, Array]:
    """(a, w) after a time on w < 0."""
    c = (a - w) * (a + w)
    with np.errstate(over="ignore"):
        of_a, of_w = w * w * time * _relative_growth(-c * time), a * a * time * _relative_growth(c * time)
    return a / np.sqrt(1 + of_a), w / np.sqrt(1 + of_w)


def _constants(a: Array, w: Array) -> tuple[Array, Array]:
    c = (a - w) * (a + w)
    return c, np.hypot(2, c)


def _relative_growth(x: Array) -> Array:
    """(eˣ − 1)/x, with its limit 1 at 0."""
    return np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x))
