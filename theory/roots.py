"""Roots of many increasing functions at once: Newton's steps, kept inside a bracket that shrinks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theory.arrays import Array

Function = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]


def increasing_root(
    function: Function,
    low: Array,
    high: Array,
    first: Array | None = None,
    floor: float = 0.0,
    noise: float = 2e-15,
    enough: float = 0.0,
) -> Array:
    """The x in [low, high] at which each of N increasing functions is 0, to the last digits that it resolves.

    function: takes points x (M,) and the numbers (M,) of the functions that they belong to, and returns values and
        slopes, both (M,).
    low, high: (N,) float64, the brackets. If a function has one sign on its whole bracket, the nearer end is returned.
    first: (N,) the points to begin at; None is the middle of the bracket.
    floor: a root closer to 0 than this is found to the absolute error of a root of this size.
    noise: the relative error that the functions have near their roots.
    enough: a step of Newton's below this part of the root is the last one, as for functions so smooth that the next
        would be about its square; 0 goes on until rounding ends it.
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
        # A step that rounds to nothing has arrived: it must not be halved away.
        inside = ((newton > low[rows]) & (newton < high[rows])) | (newton == here)
        x[rows] = np.where(value == 0, here, np.where(inside, newton, (low[rows] + high[rows]) / 2))
        moved = np.abs(x[rows] - here)
        # Below `noise` a step that is no shorter than the one before is the function's rounding.
        resolution = np.where(2 * moved >= last[rows], noise, np.where(inside, max(enough, 4e-16), 4e-16))
        resolution = resolution * np.maximum(np.abs(x[rows]), floor)
        last[rows] = moved
        rows = rows[moved > resolution]
    return x
