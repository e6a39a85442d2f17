"""The flow for d > 1 inputs, on the population loss or on n samples.

It is integrated with the same stepper as d = 1, without half-planes: its kinks are met by shorter steps.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
import torch
from numpy.typing import ArrayLike

from commons import InputError, finite, number, refuse
from dynamics.fields import State
from dynamics.outcome import DEAD, TEACHER, Reason
from dynamics.stepper import System
from dynamics.trajectories import (
    ARRIVAL,
    OUTCOME_OF,
    Trajectories,
    check_device,
    check_flow,
    checked_rtol,
    default_horizon,
)
from dynamics.workers import Limits, Starts, march
from theory.charts import Chart
from theory.flows import Flow
from theory.neuron import gradient_nd

DIMENSION_STEPS = 4000


def integrate_nd(
    flow: Flow,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    samples: ArrayLike | None = None,
    horizon: float | None = None,
    rtol: float | None = None,
    atol: float = 0.0,
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
    rtol = checked_rtol(rtol, atol, arrival, max_steps, dtype)
    check_device(device)
    check_flow(flow)
    if flow.a.order != 1 or flow.w.order != 1:
        refuse("flow", flow, "a flow whose charts are regular at 0, which d > 1 asks for")
    a, w = finite("a0", a0), finite("w0", w0)
    if w.ndim != 2 or w.shape[1] < 2 or a.shape != w.shape[:1]:
        raise InputError(
            f"a0 of shape {a.shape} and w0 of shape {w.shape} are not of shapes (N,) and (N, d) with d ≥ 2"
        )
    end = default_horizon(flow, arrival) if horizon is None else float(number("horizon", horizon, above=0))
    x = None
    if samples is not None:
        x = torch.as_tensor(finite("samples", samples), dtype=dtype, device=device)
        if x.ndim != 2 or not len(x) or x.shape[1] != w.shape[1]:
            refuse("samples.shape", tuple(x.shape), f"(n, {w.shape[1]}) with n ≥ 1")
    neuron = Neuron(flow, x)
    system = System(neuron.velocity, neuron.event, neuron.gap, (0, w.shape[1]))
    starts = torch.as_tensor(np.vstack([a[None], w.T]), dtype=dtype, device=device)
    ends = _run(system, starts, end, Limits(rtol, atol, max_steps, arrival), 1 + w.shape[1])
    return _at_rest(ends, neuron, system.components(starts))


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
        across, tiny = w[1:].square().sum(0).sqrt(), torch.finfo(w.dtype).tiny
        slope_a, slope_along, slope_across = _PLANE(a, w[0], across.clamp_min(tiny))
        return slope_a, torch.cat([slope_along[None], slope_across * w[1:] / across.clamp_min(tiny)])

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        reached = torch.where(self._miss(after) <= stop[0], TEACHER, torch.zeros_like(after[0]))
        return torch.where((after[0] < 0) & (self._alive(after, stop) <= 0), DEAD, reached)

    def gap(self, state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        near = ((self._miss(state) + torch.finfo(reason.dtype).tiny) / stop[0]).log()
        return torch.where(reason == TEACHER, near, self._alive(state, stop))

    def _miss(self, state: State) -> torch.Tensor:
        a, w = state
        return ((a * w[0] - 1) ** 2 + (a * w[1:]).square().sum(0)).sqrt()

    def _alive(self, state: State, stop: torch.Tensor) -> torch.Tensor:
        """Above 0 while the student still does something, or the teacher's side of its inputs can still pull at it."""
        a, w = state
        size = w.square().sum(0).sqrt()
        if self.samples is not None:
            pull = ((self.samples @ w).relu() * self.samples[:, :1].relu()).sum(0)
        else:
            across = w[1:].square().sum(0).sqrt()
            psi = torch.atan2(across, w[0])
            pull = psi.sin() + (torch.pi - psi) * psi.cos()
        return torch.maximum(a.abs() * size, pull) - stop[0]


def _at_rest(ends: Trajectories, neuron: Neuron, starts: State) -> Trajectories:
    """The ends, with a start that does not move called what it is: dead, or the saddle (0, 0)."""
    nothing = (starts[1] == 0).all(0)
    still = torch.stack([(part == 0).reshape(-1, len(nothing)).all(0) for part in neuron.velocity(starts, ())]).all(0)
    rest = (nothing | still).cpu().numpy() & (ends.outcome != OUTCOME_OF[Reason.TEACHER])
    code = np.where((starts[0] == 0).cpu().numpy() & nothing.cpu().numpy(), Reason.SADDLE, Reason.DEAD)
    reason = np.where(rest, code, ends.reason).astype(np.int8)
    return replace(ends, outcome=OUTCOME_OF[reason], reason=reason, time=np.where(rest, 0.0, ends.time))


def _run(system: System, starts: torch.Tensor, end: float, limits: Limits, width: int) -> Trajectories:
    last = torch.full((starts.shape[1],), end, dtype=starts.dtype, device=starts.device)
    rows = march(system, Starts(starts, starts[:0], last), limits).cpu().numpy().astype(np.float64)
    time, steps, reason = rows[width:]
    reason = reason.astype(np.int8)
    return Trajectories(OUTCOME_OF[reason], reason, rows[0], rows[1:width].T.copy(), time, steps.astype(np.int32))


def _plane() -> Any:
    """∂L/∂a, ∂L/∂w∥ and ∂L/∂w⊥ in the plane of w and the teacher, from theory's symbols."""
    a, along, across = sp.Symbol("a", real=True), sp.Symbol("along", real=True), sp.Symbol("across", positive=True)
    towards_a, towards_w = gradient_nd(a, [along, across], [sp.Integer(1), sp.Integer(0)])
    return sp.lambdify([a, along, across], [towards_a, *towards_w], modules=[{"pow": operator.pow}, "torch"], cse=True)


_PLANE = _plane()


def _metric(chart: Chart, theta: torch.Tensor) -> torch.Tensor:
    """g(θ) elementwise, from theory's symbols."""
    value = _metric_function(chart)(theta)
    return value if isinstance(value, torch.Tensor) else torch.full_like(theta, float(value))


@lru_cache(maxsize=64)
def _metric_function(chart: Chart) -> Any:
    symbol = sp.Symbol("theta", real=True)
    return sp.lambdify([symbol], chart.metric_expression(symbol), modules="torch")
