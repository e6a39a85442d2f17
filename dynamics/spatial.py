"""Flows with more than two coordinates: d > 1 inputs, the loss on n samples, and the factors (m, w) themselves.

It integrates them with the same kernel as d = 1, without half-planes: their kinks are met by shorter steps.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp
import torch
from numpy.typing import ArrayLike, NDArray

from commons import finite, number, refuse
from dynamics.fields import State
from dynamics.kernel import System
from dynamics.march import Limits, march
from dynamics.outcome import DEAD, TEACHER
from dynamics.trajectories import ARRIVAL, OUTCOME_OF, Trajectories, check_tolerances, default_horizon
from theory import reset
from theory.neuron import gradient_nd, loss_negative, loss_positive
from theory.parametrization import Chart, Flow, SignIn

TINY = 1e-300
DIMENSION_STEPS = 4000


def integrate_nd(
    flow: Flow,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    samples: ArrayLike | None = None,
    horizon: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    arrival: float = ARRIVAL,
    max_steps: int = DIMENSION_STEPS,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
) -> Trajectories:
    """Integrate the flow for inputs of dimension d ≥ 2 and the teacher relu(x₁).

    a0: (N,).   w0: (N, d).   samples: (n, d) inputs of an empirical loss, or None for the population x ~ N(0, I).
    RECOVERED: ‖aw − e₁‖ ≤ arrival.   STUCK: a < 0, |a|‖w‖ ≤ arrival, and w so close to −e₁ that the loss cannot fall by
    more than arrival (population), or that no sample sees both student and teacher (empirical).

    Raises:
        InputError: as `integrate`, or shapes that do not fit.
    """
    check_tolerances(rtol, atol, arrival, max_steps, dtype)
    a, w = finite("a0", a0), finite("w0", w0)
    if w.ndim != 2 or w.shape[1] < 2 or a.shape != w.shape[:1]:
        refuse("w0", f"shape {w.shape}", f"of shape ({a.size}, d) with d ≥ 2")
    end = default_horizon(flow, arrival) if horizon is None else float(number("horizon", horizon, above=0))
    x = None
    if samples is not None:
        x = torch.as_tensor(finite("samples", samples), dtype=dtype, device=device)
        if x.ndim != 2 or x.shape[1] != w.shape[1]:
            refuse("samples", f"shape {tuple(x.shape)}", f"of shape (n, {w.shape[1]})")
    neuron = Neuron(flow, x)
    system = System(neuron.velocity, neuron.event, neuron.gap, (0, w.shape[1]))
    starts = torch.as_tensor(np.vstack([a[None], w.T]), dtype=dtype, device=device)
    return _run(system, starts, end, Limits(rtol, atol, max_steps, arrival), 1 + w.shape[1])


@dataclass(frozen=True, eq=False)
class Neuron:
    """Field and events of one flow in d ≥ 2 dimensions, on the population or on samples (n, d)."""

    flow: Flow
    samples: torch.Tensor | None

    def velocity(self, state: State, given: Sequence[torch.Tensor]) -> State:
        a, w = state
        towards_a, towards_w = self.gradient(a, w)
        return -_metric(self.flow.a, a) * towards_a, -_metric(self.flow.w, w) * towards_w

    def gradient(self, a: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(∂L/∂a (N,), ∂L/∂w (d, N))."""
        if self.samples is not None:
            seen = self.samples @ w  # (n, N)
            miss = a * seen.relu() - self.samples[:, :1].relu()
            active = (seen > 0).to(w.dtype)
            towards_w = a * (self.samples.T @ (miss * active)) / len(seen)
            return (miss * seen.relu()).mean(0), towards_w
        across = w[1:].square().sum(0).sqrt()
        slope_a, slope_along, slope_across = _PLANE(a, w[0], across.clamp_min(TINY))
        return slope_a, torch.cat([slope_along[None], slope_across * w[1:] / across.clamp_min(TINY)])

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], limits: torch.Tensor) -> torch.Tensor:
        reached = torch.where(self._miss(after) <= limits[0], TEACHER, torch.zeros_like(after[0]))
        return torch.where((after[0] < 0) & (self._alive(after, limits) <= 0), DEAD, reached)

    def gap(self, state: State, reason: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        near = ((self._miss(state) + TINY) / limits[0]).log()
        return torch.where(reason == TEACHER, near, self._alive(state, limits))

    def _miss(self, state: State) -> torch.Tensor:
        a, w = state
        return ((a * w[0] - 1) ** 2 + (a * w[1:]).square().sum(0)).sqrt()

    def _alive(self, state: State, limits: torch.Tensor) -> torch.Tensor:
        """Above 0 while the student still does something, or the teacher's side of its inputs can still pull at it."""
        a, w = state
        size = w.square().sum(0).sqrt()
        if self.samples is not None:
            pull = ((self.samples @ w).relu() * self.samples[:, :1].relu()).sum(0)
        else:
            across = w[1:].square().sum(0).sqrt()
            psi = torch.atan2(across, w[0])
            pull = psi.sin() + (torch.pi - psi) * psi.cos()
        return torch.maximum(a.abs() * size, pull) - limits[0]


def integrate_factors(
    flow: SignIn, a0: ArrayLike, w0: ArrayLike, *, horizon: float, rtol: float = 1e-6, atol: float = 1e-9
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Flow of the factors a = m_a·w_a and w = m_w·w_w at d = 1 to the horizon, no metric assumed.

    a0, w0: finite, broadcast to (N,), w0 of one sign.   Returns a (N,), w (N,) and the four factors (4, N).
    """
    check_tolerances(rtol, atol, ARRIVAL, 1, torch.float64)
    number("horizon", horizon, above=0)
    a, w = (x.ravel() for x in np.broadcast_arrays(finite("a0", a0), finite("w0", w0)))
    if (w > 0).any() and (w <= 0).any():
        refuse("w0", w0, "of one sign")
    symbols = sp.symbols("m_a w_a m_w w_w", real=True)
    loss = (loss_positive if (w > 0).all() else loss_negative)(symbols[0] * symbols[1], symbols[2] * symbols[3])
    field = sp.lambdify(symbols, [-loss.diff(x) for x in symbols], modules="torch", cse=True)

    def never(before: State, after: State, given: Sequence[torch.Tensor], limits: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(after[0])

    def gap(state: State, reason: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(reason)

    system = System(lambda state, given: tuple(field(*state)), never, gap, (0, 0, 0, 0))
    factors = np.vstack([*reset(a, flow.beta_a), *reset(w, flow.beta_w)])
    starts = torch.as_tensor(factors)
    last = torch.full((a.size,), float(horizon), dtype=torch.float64)
    ends = march(system, starts, starts[:0], last, Limits(rtol, atol, 100_000, ARRIVAL))[:4].numpy()
    return ends[0] * ends[1], ends[2] * ends[3], ends


def _run(system: System, starts: torch.Tensor, end: float, limits: Limits, width: int) -> Trajectories:
    last = torch.full((starts.shape[1],), end, dtype=starts.dtype, device=starts.device)
    rows = march(system, starts, starts[:0], last, limits).cpu().numpy().astype(np.float64)
    time, steps, reason = rows[width:]
    reason = reason.astype(np.int8)
    return Trajectories(OUTCOME_OF[reason], reason, rows[0], rows[1:width].T.copy(), time, steps.astype(np.int32))


def _plane() -> Any:
    """∂L/∂a, ∂L/∂w∥ and ∂L/∂w⊥ in the plane of w and the teacher, from theory's symbols."""
    a, along, across = sp.Symbol("a", real=True), sp.Symbol("along", real=True), sp.Symbol("across", positive=True)
    towards_a, towards_w = gradient_nd(a, [along, across], [sp.Integer(1), sp.Integer(0)])
    return sp.lambdify([a, along, across], [towards_a, *towards_w], modules=[{"pow": operator.pow}, "torch"], cse=True)


_PLANE = _plane()
_METRICS: dict[Chart, Any] = {}


def _metric(chart: Chart, theta: torch.Tensor) -> torch.Tensor:
    """g(θ) elementwise, from theory's symbols."""
    if chart not in _METRICS:
        symbol = sp.Symbol("theta", real=True)
        _METRICS[chart] = sp.lambdify([symbol], chart.metric_expression(symbol) + 0 * symbol, modules="torch")
    value = _METRICS[chart](theta)
    return value if isinstance(value, torch.Tensor) else torch.full_like(theta, float(value))
