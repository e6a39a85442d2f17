"""The flow of the factors m and w themselves at d = 1, with no metric assumed: a witness for the metric of theory/."""

from dataclasses import dataclass

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from commons import number
from dynamics.one_sided import OneSided
from theory import reset
from theory.flows import SignIn


@dataclass(frozen=True)
class FactorEnds:
    """Where the factors of each start are at the end.

    a, w: (N,) float64, the products a = m_a·w_a and w = m_w·w_w.
    factors: (4, N) float64, the rows m_a, w_a, m_w and w_w.
    time: (N,) float64, flow time at the end.
    reason: (N,) int8, see Reason: HORIZON, WALL where w came to 0, or what kept the integration from going on.
    """

    a: NDArray[np.float64]
    w: NDArray[np.float64]
    factors: NDArray[np.float64]
    time: NDArray[np.float64]
    reason: NDArray[np.int8]


def integrate_factors(
    flow: SignIn,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    horizon: float,
    weight_decay: float = 0.0,
    rtol: float | None = None,
    atol: float = 0.0,
    max_steps: int = 10_000,
) -> FactorEnds:
    """Integrate the flow of the factors of a = m_a·w_a and w = m_w·w_w at d = 1, up to the horizon or to w = 0.

    a0, w0: finite arrays that broadcast to (N,); w0 has one sign throughout.   horizon: flow time.
    weight_decay: the λ ≥ 0 by which each factor x decays, −λx.
    rtol, atol, max_steps: as in `integrate`.

    Raises:
        InputError: as `integrate`, w0 of both signs or 0, or a flow without factors.
    """
    decay = float(number("weight_decay", weight_decay, at_least=0))
    given = OneSided.of(flow, a0, w0, horizon, rtol, atol, max_steps)
    symbols = sp.symbols("m_a w_a m_w w_w", real=True)
    loss = given.loss(symbols[0] * symbols[1], symbols[2] * symbols[3])
    field = sp.lambdify(symbols, [-loss.diff(x) - decay * x for x in symbols], modules="torch", cse=True)
    ends = given.follow(
        lambda state: tuple(field(*state)),
        lambda state: state[2] * state[3],
        [*reset(given.a, flow.beta_a), *reset(given.w, flow.beta_w)],
    )
    m_a, w_a, m_w, w_w, time, _, reason = ends
    return FactorEnds(m_a * w_a, m_w * w_w, ends[:4], time, reason.astype(np.int8))
