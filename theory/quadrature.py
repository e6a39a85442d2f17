"""Integrals of many smooth functions at once: Gauss-Legendre panels doubled until two levels agree.

It knows nothing of neurons; singular ends are the caller's to transform away.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from theory.arrays import Array

NODES, WEIGHTS = (np.asarray(x) for x in np.polynomial.legendre.leggauss(16))
MOST_PANELS = 1 << 12


def integrate(
    function: Callable[[Array, NDArray[np.intp]], Array], low: Array, high: Array, rtol: float = 3e-13
) -> tuple[Array, Array]:
    """(integrals, error bounds), each (N,), of function(x, rows) over [low, high].

    function: x is (M, K), points of the intervals that rows, (M,), names; returns values (M, K).
    low, high: (N,) float64.   The bound is the change at the last doubling; it exceeds rtol only where the
    function's own rounding or 2¹² panels of 16 nodes do not reach it.
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
    """The composite rule, over few enough intervals at a time to bound memory."""
    offsets = ((np.arange(panels)[:, None] + (NODES + 1) / 2) / panels).ravel()  # (K,) in (0, 1)
    weights = np.tile(WEIGHTS, panels) / (2 * panels)
    total = np.empty(len(rows))
    for part in np.array_split(np.arange(len(rows)), max(1, len(rows) * len(offsets) >> 20)):
        some = rows[part]
        width = (high - low)[some, None]
        total[part] = (function(low[some, None] + width * offsets, some) * width) @ weights
    return total
