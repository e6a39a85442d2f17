"""The neuron with d ≥ 2 inputs as systems to integrate: the whole flow, and the flow on its slow manifold.

Close to w = −e₁ the student and the teacher see almost no input together, and the flow is stiff: a relaxes at the rate
g(a)‖w‖²/2 to what the loss asks of it, while w turns at a rate of the fourth power of its angle to −e₁.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import sympy as sp
import torch

from dynamics.fields import State
from dynamics.outcome import CROSSED, DEAD, SEPARATRIX, TEACHER
from dynamics.tracing import Symbol
from theory.charts import Chart
from theory.flows import Flow
from theory.neuron import gradient_nd

ENTER, LEAVE = 2e-3, 1e-2  # relative change of the slow manifold's a in one relaxation time of a
SMALL_OPENING = 0.1  # below which sin ω − ω cos ω is taken from its series


@dataclass(frozen=True, eq=False)
class Neuron:
    """Field and events of one flow in d ≥ 2 dimensions, on the population (samples is None) or on samples (n, d).

    close: how far a may be from the slow manifold, relative to ‖w‖, to be taken to be on it.
    """

    flow: Flow
    samples: torch.Tensor | None
    close: float

    def velocity(self, state: State, given: Sequence[torch.Tensor]) -> State:
        """(da/dt (N,), dw/dt (d, N))."""
        a, w = state
        towards_a, towards_w = self.gradient(a, w)
        return -metric(self.flow.a, a) * towards_a, -metric(self.flow.w, w) * towards_w

    def gradient(self, a: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(∂L/∂a (N,), ∂L/∂w (d, N))."""
        if self.samples is not None:
            seen = self.samples @ w  # (n, N)
            miss = a * seen.relu() - self.samples[:, :1].relu()
            active = (seen > 0).to(w.dtype)
            towards_w = a * (self.samples.T @ (miss * active)) / len(seen)
            return (miss * seen.relu()).mean(0), towards_w
        tiny = torch.finfo(w.dtype).tiny
        across = _length(w[1:]).clamp_min(tiny)
        slope_a, slope_along, slope_across = _PLANE(a, w[0], across, torch.atan2(across, -w[0]))
        return slope_a, torch.cat([slope_along[None], slope_across * w[1:] / across])

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        """TEACHER, DEAD where it cannot recover any more, SEPARATRIX near the saddle, CROSSED where it becomes slow."""
        a, w = after
        reason = torch.where(self._miss(a, w) <= stop[0], TEACHER, torch.zeros_like(a))
        if self.samples is None:
            reason = torch.where((w[0] < 0) & (self._from_slow(a, w) <= 0), CROSSED, reason)
        near = a * a + w.square().sum(0) < stop[1]
        reason = torch.where((a < 0) & near, SEPARATRIX, reason)
        return torch.where(self._hope(a, w, stop) <= 0, DEAD, reason)

    def gap(self, state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        """The event function of each reason, above 0 before the event."""
        a, w = state
        tiny = torch.finfo(a.dtype).tiny
        near = ((self._miss(a, w) + tiny) / stop[0]).log()
        near = torch.where(reason == SEPARATRIX, ((a * a + w.square().sum(0)) / stop[1]).log(), near)
        if self.samples is None:
            near = torch.where(reason == CROSSED, self._from_slow(a, w), near)
        return torch.where(reason == DEAD, self._hope(a, w, stop), near)

    def _miss(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """‖aw − e₁‖."""
        return ((a * w[0] - 1) ** 2 + (a * w[1:]).square().sum(0)).sqrt()

    def _hope(self, a: torch.Tensor, w: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        """Above 0 while |a|‖w‖ > arrival or the start may still recover.

        It cannot where a < 0 and E(a) > ΣE(w_i), since the flow keeps the difference and a = 0 asks for E(a) = 0; where
        w is exactly a negative multiple of e₁; or where a < 0 and no sample sees both student and teacher.
        """
        moving = a.abs() * _length(w) / stop[0] - 1
        if self.samples is None:
            lost = (w[1:] == 0).all(0) & (w[0] < 0)
        else:
            lost = (a < 0) & (((self.samples @ w).relu() * self.samples[:, :1].relu()).sum(0) == 0)
        hope = torch.where(lost, -1.0, torch.ones_like(a))
        asked = (moving <= 0) & (a < 0) & ~lost
        if bool(asked.any()):
            hope[asked] = _energies(self.flow, a[asked], w[:, asked])
        return torch.maximum(moving, hope)

    def _from_slow(self, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """At most 0 where a is on the slow manifold and the manifold moves slowly."""
        settled, change = self.slow(w)
        apart = (a - settled).abs() / (self.close * _length(w) + ENTER * settled.abs())
        return torch.maximum(apart, change / ENTER) - 1

    def slow(self, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The a of the slow manifold at w, and its relative change in one relaxation time of a; both (N,).

        To first order ∂L/∂a = 0 gives a₀ = (sin ω − ω cos ω)/(π‖w‖), where ω = π − ψ is the angle of w to −e₁. Since
        da/dt = −λ(a − a₀) with λ = g(a)‖w‖²/2, a lags behind by (da₀/dt)/λ, which the second order takes into account.
        """
        n, across = _length(w), _length(w[1:]).clamp_min(torch.finfo(w.dtype).tiny)
        opening = torch.atan2(across, -w[0])
        first = _kernel(opening) / (torch.pi * n)
        speed = self.velocity((first, w), ())[1]
        widening = (w[1:] * speed[1:]).sum(0) / across
        turning = (across * speed[0] - w[0] * widening) / (n * n)
        drift = opening * opening.sin() * turning / (torch.pi * n) - first * (w * speed).sum(0) / (n * n)
        relaxation = metric(self.flow.a, first) * n * n / 2
        return first - drift / relaxation, drift.abs() / (relaxation * first + torch.finfo(w.dtype).tiny)


@dataclass(frozen=True, eq=False)
class SlowNeuron:
    """The flow of w alone, with a on the slow manifold; CROSSED where the manifold moves too fast to be followed."""

    neuron: Neuron

    def velocity(self, state: State, given: Sequence[torch.Tensor]) -> State:
        """dw/dt (d, N), as the only component."""
        (w,) = state
        return (self.neuron.velocity((self.neuron.slow(w)[0], w), ())[1],)

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        """CROSSED where the whole flow is to be integrated again."""
        return torch.where(self.gap(after, stop, stop) <= 0, CROSSED, torch.zeros_like(after[0][0]))

    def gap(self, state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        """Above 0 while the manifold moves slowly and w is on the side of −e₁, so that the teacher is still far."""
        (w,) = state
        slowness = (LEAVE / self.neuron.slow(w)[1].clamp_min(torch.finfo(w.dtype).tiny)).log()
        return torch.minimum(slowness, -w[0] / _length(w))


def metric(chart: Chart, theta: torch.Tensor) -> torch.Tensor:
    """g(θ) elementwise, from theory's expression."""
    value = _metric_function(chart)(theta)
    return torch.full_like(theta, float(value)) if isinstance(value, int | float) else value


def _length(w: torch.Tensor) -> torch.Tensor:
    return w.square().sum(0).sqrt()


def _energies(flow: Flow, a: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    """2ΣE(w_i)/E(a) − 1: below 0 where E(a) exceeds the sum so far that no error of integration could have done it."""
    return 2 * radius(flow.w, w).square().sum(0) / radius(flow.a, a).square() - 1


def radius(chart: Chart, theta: torch.Tensor) -> torch.Tensor:
    """ρ(θ) elementwise, by theory's function for NumPy."""
    if isinstance(theta, Symbol):
        return np.asarray(chart.radius(theta)).item()
    return torch.as_tensor(chart.radius(theta.double().cpu().numpy())).to(theta)


def _kernel(opening: torch.Tensor) -> torch.Tensor:
    """Sin ω − ω cos ω without cancellation."""
    square = opening * opening
    series = opening * square / 3 * (1 - square / 10 * (1 - square / 28 * (1 - square / 54)))
    return torch.where(opening < SMALL_OPENING, series, opening.sin() - opening * opening.cos())


def _plane() -> Any:
    """∂L/∂a, ∂L/∂w along and across e₁, from theory's symbols, in the angle to −e₁, which has digits near it."""
    a, along, across = sp.Symbol("a", real=True), sp.Symbol("along", real=True), sp.Symbol("across", positive=True)
    opening = sp.Symbol("opening", positive=True)
    towards_a, towards_w = gradient_nd(a, [along, across], [sp.Integer(1), sp.Integer(0)])
    slopes = [slope.subs(sp.atan2(across, along), sp.pi - opening) for slope in (towards_a, *towards_w)]
    return sp.lambdify([a, along, across, opening], slopes, modules=[{"pow": operator.pow}, "torch"], cse=True)


_PLANE = _plane()


@lru_cache(maxsize=64)
def _metric_function(chart: Chart) -> Any:
    symbol = sp.Symbol("theta", real=True)
    return sp.lambdify([symbol], chart.metric_expression(symbol), modules="torch")
