"""Sign-In's flow under weight decay at d = 1, in the weights themselves: their metric changes as β decays."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from commons import number
from dynamics.discrete import SLOPES
from dynamics.fields import State
from dynamics.one_sided import OneSided
from theory import metric
from theory.flows import SignIn


@dataclass(frozen=True)
class DecayEnds:
    """Where each start is at the end.

    a, w: (N,) float64.   beta_a, beta_w: (N,) float64, the β of each layer then.   time: (N,) float64, flow time.
    reason: (N,) int8, see Reason: HORIZON, WALL where w came to 0, or what kept the integration from going on.
    """

    a: NDArray[np.float64]
    w: NDArray[np.float64]
    beta_a: NDArray[np.float64]
    beta_w: NDArray[np.float64]
    time: NDArray[np.float64]
    reason: NDArray[np.int8]


def integrate_decay(
    flow: SignIn,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    weight_decay: float,
    horizon: float,
    held: bool = False,
    rtol: float | None = None,
    atol: float = 0.0,
    max_steps: int = 10_000,
) -> DecayEnds:
    """Integrate dθ/dt = −√(4θ² + β²) ∂L/∂θ − 2λθ for a and w, with dβ/dt = −2λβ, up to the horizon or to w = 0.

    a0, w0: finite arrays that broadcast to (N,); w0 has one sign throughout.
    weight_decay: the λ of both factors of each weight.   horizon: flow time.
    held: keep β, as resets at every moment would.
    rtol, atol, max_steps: as in `integrate`.

    Raises:
        InputError: as `integrate`, w0 of both signs or 0, or a flow without factors.
    """
    decay = float(number("weight_decay", weight_decay, at_least=0))
    given = OneSided.of(flow, a0, w0, horizon, rtol, atol, max_steps)
    slopes = SLOPES[given.side]
    shrinking = 0.0 if held else -2 * decay

    def field(state: State) -> State:
        weight_a, weight_w, beta_a, beta_w = state
        slope_a, slope_w = slopes(weight_a, weight_w)
        return (
            -metric(weight_a, beta_a, xp=torch) * slope_a - 2 * decay * weight_a,
            -metric(weight_w, beta_w, xp=torch) * slope_w - 2 * decay * weight_w,
            shrinking * beta_a,
            shrinking * beta_w,
        )

    betas = [np.full_like(given.a, beta) for beta in (flow.beta_a, flow.beta_w)]
    a, w, beta_a, beta_w, time, _, reason = given.follow(field, lambda state: state[1], [given.a, given.w, *betas])
    return DecayEnds(a, w, beta_a, beta_w, time, reason.astype(np.int8))
