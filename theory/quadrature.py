"""Integrals of many smooth functions at once: the number of Gauss-Legendre panels is doubled until two levels agree."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theory.arrays import Array

NODES, WEIGHTS = (np.asarray(x) for x in np.polynomial.legendre.leggauss(16))
MOST_PANELS = 1 << 12


def integrate(
    function: Callable[[Array, NDArray[np.intp]], Array], low: Array, high: Array, rtol: float = 3e-13
) -> tuple[Array, Array]:
    """The integral of function(x, rows) over each of N intervals, and a bound on its error; both (N,) float64.

    function: takes points x (M, K), of which row i lies in the interval number rows[i], and returns its values (M, K).
        It must be smooth; the caller transforms singular ends away.
    low, high: (N,) float64, the ends of the intervals.
    rtol: the relative change at which the doubling of an interval's panels ends.

    The bound is the change at the last doubling. It is above rtol where the rounding of the function itself is, and
    where 2¹² panels of 16 nodes are not enough.
    """
    value, error = np.zeros(low.shape), np.full(low.shape, np.inf)
    error[high == low] = 0
    rows = np.flatnonzero(high != low)
    panels = 1
    coarse = _panels(function, low, high, rows, panels)
    while len(rows) and panels < MOST_PANELS:
        panels *= 2
        fine = _panels(function, low, high, rows, panels)
        change = np.abs(fine - coarse)
        # A small change that no longer shrinks is the function's rounding; more panels would not help.
        rounding = (change <= 1e-9 * np.abs(fine)) & (2 * change >= error[rows])
        value[rows], error[rows] = fine, change
        going = ~((change <= rtol * np.abs(fine)) | rounding)
        rows, coarse = rows[going], fine[going]
    return value, error


def _panels(function: Callable[..., Array], low: Array, high: Array, rows: NDArray[np.intp], panels: int) -> Array:
    """The composite rule over the intervals `rows`, a few intervals at a time, so that memory stays bounded."""
    offsets = ((np.arange(panels)[:, None] + (NODES + 1) / 2) / panels).ravel()  # (K,) in (0, 1)
    weights = np.tile(WEIGHTS, panels) / (2 * panels)
    total = np.empty(len(rows))
    for part in np.array_split(np.arange(len(rows)), max(1, len(rows) * len(offsets) >> 20)):
        some = rows[part]
        width = (high - low)[some, None]
        total[part] = (function(low[some, None] + width * offsets, some) * width) @ weights
    return total
