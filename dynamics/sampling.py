"""Trajectories along the way: (a, w) at given times, for drawing and for following an invariant."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import broadcast, finite, refuse
from dynamics.outcome import Outcome, Reason
from dynamics.trajectories import integrate
from theory.flows import Flow


def sample_paths(
    flow: Flow, a0: ArrayLike, w0: ArrayLike, times: ArrayLike, *, rtol: float = 1e-9, arrival: float = 1e-9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(a, w) of each start at each time, both (T, N) float64.

    A trajectory that has ended stays where it ended. Where the integration could not go on to a time, both are nan.

    a0, w0: (N,), or arrays that broadcast to it.
    times: (T,) flow times ≥ 0, which do not decrease. Each is integrated to from the start.
    rtol, arrival: as in `integrate`.

    Raises:
        InputError: times that decrease or are negative, or as `integrate`.
    """
    t = finite("times", times).ravel()
    if not len(t) or t[0] < 0 or (np.diff(t) < 0).any():
        refuse("times", times, "a non-empty list of times that starts at 0 or later and does not decrease")
    a, w = (x.ravel() for x in broadcast(a0=a0, w0=w0))
    later = t > 0
    ends = integrate(flow, a, w, horizon=t[later, None], rtol=rtol, arrival=arrival)
    missed = (ends.outcome == Outcome.UNDECIDED) & (ends.reason != Reason.HORIZON)
    paths = []
    for start, at in ((a, ends.a), (w, ends.w)):
        path = np.tile(start, (len(t), 1))
        path[later] = np.where(missed, np.nan, at)
        paths.append(path)
    return paths[0], paths[1]
