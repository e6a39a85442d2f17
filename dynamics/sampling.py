"""Trajectories seen along the way: (a, w) at given times, for drawing and for following an invariant.

It decides nothing; `integrate` says how a trajectory ends.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import finite, refuse
from dynamics.integrate import integrate
from theory.parametrization import Flow


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
    a, w = (x.ravel().copy() for x in np.broadcast_arrays(finite("a0", a0), finite("w0", w0)))
    path_a, path_w = np.empty((len(t), len(a))), np.empty((len(t), len(a)))
    now = 0.0
    for i, time in enumerate(t):
        if time > now:
            ends = integrate(flow, a, w, horizon=time - now, rtol=rtol, atol=rtol * 1e-3, arrival=arrival, fuse=False)
            a, w, now = ends.a, ends.w, float(time)
        path_a[i], path_w[i] = a, w
    return path_a, path_w
