"""Roots of many increasing functions at once: Newton's steps kept inside a shrinking bracket.

It knows nothing of neurons, and never extrapolates outside the bracket it is given.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theory.arrays import Array

Function = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]


def increasing_root(
    function: Function, low: Array, high: Array, first: Array | None = None, floor: float = 0.0, noise: float = 2e-15
) -> Array:
    """The x in [low, high] at which each increasing function is 0, to the last digits that `function` resolves.

    function: maps points x and the rows they belong to, both (M,), to values and slopes, each (M,).
    low, high: (N,) float64; where the function has one sign on the whole bracket the nearer end is returned.
    first: the points to begin at, the middle by default.   floor: |x| below which digits are counted
    from floor on.   noise: relative error that the function has near its root.
    """
    low, high = low.copy(), high.copy()
    x = (low + high) / 2 if first is None else first.copy()
    last, rows = high - low, np.arange(len(low))
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
        # Below `noise` a step that is no shorter than the one before is the function's rounding.
        resolution = np.where(2 * moved >= last[rows], noise, 4e-16) * np.maximum(np.abs(x[rows]), floor)
        last[rows] = moved
        rows = rows[moved > resolution]
    return x
