"""The flow for d ≥ 2 inputs, on the population loss or on n samples."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike

from commons import InputError, finite, number, refuse
from dynamics.many_inputs import Neuron, SlowNeuron, radius
from dynamics.outcome import CROSSED, ROUNDOFF, SADDLE, SEPARATRIX, STEPS, Reason
from dynamics.stepper import System
from dynamics.tableaux import dormand_prince_8
from dynamics.trajectories import (
    ARRIVAL,
    CLOSE,
    OUTCOME_OF,
    Trajectories,
    can_fuse,
    check_device,
    check_flow,
    checked_rtol,
    closely,
)
from dynamics.workers import Limits, Starts, march
from theory.flows import Flow

LATEST = 1e20  # flow time: steps grow with the time where a start is slow, so that a late end costs little
ROUNDS = 8  # how often a trajectory may come to its slow manifold
AT_ROUNDING = 64  # roundings of E(a) − ΣE(w_i) within which a start is on the stable manifold of the saddle
WORTH_COMPILING = 1 << 6  # starts for each of d inputs, by which a program grows


@dataclass(frozen=True, eq=False)
class Systems:
    """The systems that follow a neuron with d inputs: its whole flow, that at tight tolerances, and w's slow flow."""

    neuron: Neuron
    d: int

    @cached_property
    def whole(self) -> System:
        return System(self.neuron.velocity, self.neuron.event, self.neuron.gap, (0, self.d))

    @cached_property
    def fine(self) -> System:
        return replace(self.whole, pair=dormand_prince_8())

    @cached_property
    def slow(self) -> System:
        slow = SlowNeuron(self.neuron)
        return System(slow.velocity, slow.event, slow.gap, (self.d,))


@lru_cache(maxsize=64)
def _on_population(flow: Flow, close: float, d: int) -> Systems:
    """The same object for equal flows, so that each is compiled once."""
    return Systems(Neuron(flow, None, close), d)


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
    max_steps: int = 10_000,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    fuse: bool | None = None,
) -> Trajectories:
    """Integrate the flow for inputs of dimension d ≥ 2 and the teacher relu(x₁) until an event decides each start.

    RECOVERED: ‖aw − e₁‖ ≤ arrival.
    STUCK: |a|‖w‖ ≤ arrival, and the start cannot recover any more, see the theorem "many inputs" of theory/: a < 0 and
        E(a) ≥ 2ΣE(w_i); or w is exactly a negative multiple of e₁; or, on samples, a < 0 and none sees both student
        and teacher. Closeness of w to −e₁ alone never decides.
    SADDLE: (a, w) arrives at (0, 0), or a start with a < 0 and E(a) = ΣE(w_i), to rounding, comes close to it.

    Where w is so close to −e₁ that the flow is stiff, the population flow is followed on its slow manifold.

    a0: (N,).   w0: (N, d).
    samples: (n, d) inputs of an empirical loss, or None for the population x ~ N(0, I).
    horizon: flow time; None is 1e20, since starts recover as late as 1/ω⁴ when w starts at an angle ω to −e₁.
    rtol, atol, max_steps, device, dtype: as in `integrate`.
    fuse: compile the loops of the population flow by the machine's C compiler, where there is one and device is a CPU.
        That takes seconds once for each flow and d, and None does so for 64·d starts and more.

    Raises:
        InputError: as `integrate`, shapes that do not fit, or a chart that is not regular at 0.
    """
    rtol = checked_rtol(rtol, atol, arrival, max_steps, dtype)
    check_device(device)
    check_flow(flow)
    if flow.exponent != 2:
        refuse("flow", flow, "a gradient flow: sign descent conserves nothing for d > 1 and slides along its kinks")
    if flow.a.order != 1 or flow.w.order != 1:
        refuse("flow", flow, "a flow whose charts are regular at 0, which d > 1 asks for")
    a, w = finite("a0", a0), finite("w0", w0)
    if w.ndim != 2 or w.shape[1] < 2 or a.shape != w.shape[:1]:
        raise InputError(
            f"a0 of shape {a.shape} and w0 of shape {w.shape} are not of shapes (N,) and (N, d) with d ≥ 2"
        )
    end = LATEST if horizon is None else float(number("horizon", horizon, above=0))
    x = None
    if samples is not None:
        x = torch.as_tensor(finite("samples", samples), dtype=dtype, device=device)
        if x.ndim != 2 or not len(x) or x.shape[1] != w.shape[1]:
            refuse("samples.shape", tuple(x.shape), f"(n, {w.shape[1]}) with n ≥ 1")
    state = torch.as_tensor(np.vstack([a[None], w.T]), dtype=dtype, device=device)
    starts = Starts(state, state[:0], torch.full_like(state[0], end))
    parts = _on_population(flow, 10 * rtol, len(w[0])) if x is None else Systems(Neuron(flow, x, 10 * rtol), len(w[0]))
    fusing = x is None and state.device.type == "cpu" and can_fuse("cpu")
    fusing = fusing and (len(a) >= WORTH_COMPILING * len(w[0]) if fuse is None else fuse)
    rows = _follow(parts, starts, Limits(rtol, atol, max_steps, arrival), fusing).cpu().numpy().astype(np.float64)
    return _named(rows, parts.neuron, starts)


def _follow(parts: Systems, starts: Starts, limits: Limits, fuse: bool) -> torch.Tensor:
    """Where each start ends: rows a, w, time, steps, reason (d + 4, N)."""
    flow = parts.neuron.flow
    rates = [float(chart.metric(np.zeros(1))[0]) for chart in (flow.a, flow.w)]
    out = march(parts.whole, starts, replace(limits, near=CLOSE * max(1.0, *rates) ** 0.5), fuse=fuse)
    near, balanced = out[-1] == SEPARATRIX, _balanced(flow, starts.state)
    out[-1][near & balanced] = SADDLE
    (close,) = torch.nonzero(near & ~balanced, as_tuple=True)
    if len(close):
        out[:, close] = closely(parts.fine, starts[close], limits, fuse=fuse)
    for _ in range(ROUNDS):
        (rows,) = torch.nonzero(out[-1] == CROSSED, as_tuple=True)
        if not len(rows):
            break
        out[:, rows] = _slowly(parts, out[:, rows], starts.horizon[rows], limits, fuse)
        (back,) = torch.nonzero(out[-1] == CROSSED, as_tuple=True)
        if len(back):
            out[:, back] = _continued(parts.whole, out[:, back], starts.horizon[back], limits, fuse)
    out[-1][out[-1] == CROSSED] = STEPS
    return out


def _slowly(parts: Systems, here: torch.Tensor, horizon: torch.Tensor, limits: Limits, fuse: bool) -> torch.Tensor:
    """The trajectories `here` (d + 4, N) on the slow manifold, up to where they leave it: CROSSED."""
    out = here.clone()
    out[1:] = _continued(parts.slow, here[1:], horizon, limits, fuse)
    for _ in range(ROUNDS):
        # Where w turns fast after a long rest a step is below the rounding of the time: the clock starts again there.
        (late,) = torch.nonzero((out[-1] == ROUNDOFF) & out.isfinite().all(0), as_tuple=True)
        if not len(late):
            break
        out[1:, late] = _continued(parts.slow, out[1:, late], horizon[late], limits, fuse)
    out[0] = parts.neuron.slow(out[1:-3])[0]
    return out


def _continued(system: System, here: torch.Tensor, horizon: torch.Tensor, limits: Limits, fuse: bool) -> torch.Tensor:
    """Rows state, time, steps, reason of trajectories that go on from rows `here`; horizon counts from the start."""
    state, so_far = here[: system.width], here[system.width : system.width + 2]
    out = march(system, Starts(state, state[:0], horizon - so_far[0]), limits, fuse=fuse)
    out[system.width : system.width + 2] += so_far
    return out


def _balanced(flow: Flow, state: torch.Tensor) -> torch.Tensor:
    """Whether starts (d + 1, N) have a < 0 and E(a) = ΣE(w_i) to rounding: the stable manifold of the saddle (0, 0)."""
    energy_a, energy_w = (
        radius(chart, x.double()).square().sum(0) for chart, x in ((flow.a, state[:1]), (flow.w, state[1:]))
    )
    off = (energy_a - energy_w).abs() <= AT_ROUNDING * torch.finfo(state.dtype).eps * (energy_a + energy_w)
    return (state[0] < 0) & off


def _named(rows: np.ndarray, neuron: Neuron, starts: Starts) -> Trajectories:
    """The ends, where a start that does not move is called dead or the saddle."""
    a, w = starts.state[0], starts.state[1:]
    nothing = (w == 0).all(0)
    still = torch.cat([part.reshape(-1, len(a)) == 0 for part in neuron.velocity((a, w), ())]).all(0)
    reason = rows[-1].astype(np.int8)
    rest = (nothing | still).cpu().numpy() & (reason != Reason.TEACHER)
    at_zero = (nothing & (a == 0)).cpu().numpy()
    reason[rest] = np.where(at_zero, Reason.SADDLE, Reason.DEAD)[rest]
    d = len(w)
    return Trajectories(
        outcome=OUTCOME_OF[reason],
        reason=reason,
        a=rows[0],
        w=rows[1 : d + 1].T,
        time=np.where(rest, 0.0, rows[d + 1]),
        steps=rows[d + 2].astype(np.int32),
    )
