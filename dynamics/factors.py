"""The flow of the factors m and w themselves at d = 1, with no metric assumed: a witness for the metric of theory/."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp
import torch
from numpy.typing import ArrayLike, NDArray

from commons import broadcast, number, refuse
from dynamics.fields import State
from dynamics.outcome import WALL
from dynamics.stepper import System
from dynamics.trajectories import ARRIVAL, checked_rtol
from dynamics.workers import Limits, Starts, march
from theory import reset
from theory.flows import SignIn
from theory.neuron import loss_negative, loss_positive


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
    rtol = checked_rtol(rtol, atol, ARRIVAL, max_steps)
    number("horizon", horizon, above=0)
    if not isinstance(flow, SignIn):
        refuse("flow", flow, "SignIn(...), whose weights are products of factors")
    a, w = (x.ravel() for x in broadcast(a0=a0, w0=w0))
    side = 1 if (w > 0).all() else -1
    if not (side * w > 0).all():
        refuse("w0", w0, "above 0 throughout, or below")
    symbols = sp.symbols("m_a w_a m_w w_w", real=True)
    loss = (loss_positive if side > 0 else loss_negative)(symbols[0] * symbols[1], symbols[2] * symbols[3])
    decay = float(number("weight_decay", weight_decay, at_least=0))
    field = sp.lambdify(symbols, [-loss.diff(x) - decay * x for x in symbols], modules="torch", cse=True)

    def event(before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        return torch.where(side * after[2] * after[3] < 0, WALL, torch.zeros_like(after[0]))

    def gap(state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        return side * state[2] * state[3]

    system = System(lambda state, given: tuple(field(*state)), event, gap, (0, 0, 0, 0))
    starts = torch.as_tensor(np.vstack([*reset(a, flow.beta_a), *reset(w, flow.beta_w)]))
    last = torch.full((a.size,), float(horizon), dtype=torch.float64)
    ends = march(system, Starts(starts, starts[:0], last), Limits(rtol, atol, max_steps, ARRIVAL)).numpy()
    m_a, w_a, m_w, w_w, time, _, reason = ends
    return FactorEnds(m_a * w_a, m_w * w_w, ends[:4], time, reason.astype(np.int8))
