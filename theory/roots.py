"""Roots of many increasing functions at once: Newton's steps kept inside a shrinking bracket.

It knows nothing of neurons, and never extrapolates outside the bracket it is given.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theory.parametrization import Array

Function = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]


def increasing_root(function: Function, low: Array, high: Array) -> Array:
    """The x in [low, high] at which each increasing function is 0, to the last digits that `function` resolves.

    function: maps points x and the rows they belong to, both (M,), to values and slopes, each (M,).
    low, high: (N,) float64; where the function has one sign on the whole bracket the nearer end is returned.
    """
    low, high = low.copy(), high.copy()
    x, last, rows = (low + high) / 2, high - low, np.arange(len(low))
    for _ in range(200):
        if not len(rows):
            break
        here = x[rows]
        value, slope = function(here, rows)
        low[rows], high[rows] = np.where(value <= 0, here, low[rows]), np.where(value >= 0, here, high[rows])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            newton = here - value / slope
        inside = (newton > low[rows]) & (newton < high[rows])
        x[rows] = np.where(value == 0, here, np.where(inside, newton, (low[rows] + high[rows]) / 2))
        moved = np.abs(x[rows] - here)
        # Below 2e-15 a step that is no shorter than the one before is the function's rounding.
        resolution = np.where(2 * moved >= last[rows], 2e-15, 4e-16) * np.abs(x[rows])
        last[rows] = moved
        rows = rows[moved > resolution]
    return x
