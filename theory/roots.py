"""Roots of many increasing functions at once: Newton's steps kept inside a shrinking bracket.

It knows nothing of neurons, and never extrapolates outside the bracket it is given.
"""

from collections.abc import Callable

import numpy as np

from theory.parametrization import Array


def increasing_root(function: Callable[[Array], tuple[Array, Array]], low: Array, high: Array) -> Array:
    """The x in [low, high] at which each increasing function is 0, to the last digits that `function` resolves.

    function: maps points x, shape (N,), to values and slopes, each (N,).   low, high: (N,) float64; where the
    function has one sign on the whole bracket the nearer end is returned.
    """
    low, high = low.copy(), high.copy()
    x = (low + high) / 2
    for _ in range(200):
        value, slope = function(x)
        low, high = np.where(value <= 0, x, low), np.where(value >= 0, x, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = x - value / slope
        step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
        moved, x = np.abs(step - x), step
        if np.all((moved <= 4e-16 * np.abs(x)) | (high - low <= 4e-16 * np.abs(x)) | (value == 0)):
            break
    return x
