"""Trajectories seen along the way: (a, w) at given times, for drawing and for following an invariant.

It decides nothing; `integrate` says how a trajectory ends.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import finite, refuse
from dynamics.trajectories import integrate
from theory.parametrization import Flow

TINIEST = 1e-300  # a horizon that stands for time 0


def sample_paths(
    flow: Flow, a0: ArrayLike, w0: ArrayLike, times: ArrayLike, *, rtol: float = 1e-9, arrival: float = 1e-9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(a, w) of each start at each time, both (T, N) float64; a trajectory that has ended stays where it ended.

    a0, w0: (N,) or what broadcasts to it.   times: (T,) flow times ≥ 0, not decreasing.

    Raises:
        InputError: times that decrease or are negative, or as `integrate`.
    """
    t = finite("times", times).ravel()
    if not len(t) or t[0] < 0 or (np.diff(t) < 0).any():
        refuse("times", times, "a non-empty list of times that starts at 0 or later and does not decrease")
    a, w = np.broadcast_arrays(finite("a0", a0), finite("w0", w0))
    a, w = a.ravel(), w.ravel()
    ends = integrate(flow, a, w, horizon=np.maximum(t, TINIEST)[:, None], rtol=rtol, atol=rtol * 1e-3, arrival=arrival)
    started = (t > 0)[:, None]
    return np.where(started, ends.a, a), np.where(started, ends.w, w)
