"""Gradient flow of one neuron with d = 1 from many starts at once, each to its own end.

It decides by events alone and never asks theory/ who recovers: it is the independent witness.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from commons import InputError, broadcast, finite, number, refuse
from dynamics.events import planar
from dynamics.fields import HalfPlane, half_plane
from dynamics.outcome import CROSSED, DEAD, RUNNING, SADDLE, SEPARATRIX, TEACHER, WALL, Reason
from dynamics.stepper import System
from dynamics.tableaux import dormand_prince_8
from dynamics.workers import Limits, march
from theory.flows import Flow

ARRIVAL = 1e-3
CLOSE, CLOSEST, AT_SADDLE = 2e-2, 1e-5, 1e-8
TIGHT = 1e-12
WORTH_COMPILING = 1 << 22
# The slopes of a chart that reaches zero are not differentiable there, and the error is underestimated that far.
AT_A_KINK = 1e-2


@dataclass(frozen=True)
class Trajectories:
    """Where each start ends; all arrays have the shape to which a0, w0 and horizon broadcast, and w a last axis d > 1.

    outcome: int8, see Outcome.   reason: int8, see Reason.   a, w: float64, where it ended.
    time: float64, flow time at the end.   steps: int32, accepted and rejected steps.
    """

    outcome: NDArray[np.int8]
    reason: NDArray[np.int8]
    a: NDArray[np.float64]
    w: NDArray[np.float64]
    time: NDArray[np.float64]
    steps: NDArray[np.int32]


def default_horizon(flow: Flow, arrival: float = ARRIVAL) -> float:
    """Flow time by which every start that is decided at all is.

    4/arrival in units of the slower rate at the saddle; 4/arrival³ where a chart is not regular there, so that weights
    approach zero by power laws.
    """
    if flow.a.order != 1 or flow.w.order != 1:
        return 4 / arrival**3
    return 4 / (arrival * min(1.0, *(float(chart.metric(np.zeros(1))[0]) for chart in (flow.a, flow.w))))


def integrate(
    flow: Flow,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    horizon: ArrayLike | None = None,
    rtol: float = 1e-6,
    atol: float = 0.0,
    arrival: float = ARRIVAL,
    max_steps: int = 10_000,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    fuse: bool | None = None,
) -> Trajectories:
    """Integrate the population flow dθ = −g(θ)∇L from each start until an event decides it.

    a0, w0: finite arrays that broadcast.   horizon: flow time, a number or an array that broadcasts with them; None is
    `default_horizon`.   rtol, atol: the error of a step stays below atol + rtol·‖(a, w)‖; rtol is ten roundings of the
    dtype or more, 1.2e-6 for float32.   arrival: |aw − 1| (or |aw| at w < 0) that ends a trajectory.   max_steps: steps
    after which a stiff trajectory is given up.   fuse: compile the loop where a compiler is found, which takes a minute
    once and then seconds in each process; None does so for 2²² starts and more. Starts that pass the saddle closely are
    integrated again, at 1e-12.

    Raises:
        InputError: a start, a tolerance or the horizon is not a finite number in its range; the dtype is too narrow;
            the device is not there.
    """
    check_tolerances(rtol, atol, arrival, max_steps, dtype)
    check_device(device)
    check_flow(flow)
    last = finite("horizon", default_horizon(flow, arrival) if horizon is None else horizon)
    if (last <= 0).any():
        refuse("horizon", horizon, "positive")
    a, w, ends = broadcast(a0=a0, w0=w0, horizon=last)
    limits = Limits(rtol, atol, max_steps, arrival)
    start_a, start_w, end = (
        torch.as_tensor(x.ravel(), dtype=dtype, device=device) for x in (a, w, ends if last.ndim else last)
    )
    wanted = a.size >= WORTH_COMPILING if fuse is None else fuse
    fusing = wanted and can_fuse(torch.device(device).type)
    values = _run(flow, start_a, start_w, end.expand(a.size), limits, fusing)
    names = ("a", "w", "time", "steps", "reason")
    arrays = {name: row.cpu().numpy().reshape(a.shape) for name, row in zip(names, values, strict=True)}
    reason = arrays["reason"].astype(np.int8)
    return Trajectories(
        outcome=OUTCOME_OF[reason],
        reason=reason,
        a=arrays["a"].astype(np.float64, copy=False),
        w=arrays["w"].astype(np.float64, copy=False),
        time=arrays["time"].astype(np.float64, copy=False),
        steps=arrays["steps"].astype(np.int32),
    )


OUTCOME_OF = np.array([reason.outcome for reason in Reason], dtype=np.int8)


def check_tolerances(rtol: float, atol: float, arrival: float, max_steps: int, dtype: torch.dtype) -> None:
    """InputError in one line for tolerances out of range, or finer than dtype can hold."""
    if dtype not in (torch.float32, torch.float64):
        refuse("dtype", dtype, "torch.float32 or torch.float64")
    number("rtol", rtol, above=0, below=1)
    number("atol", atol, at_least=0, below=1)
    number("arrival", arrival, above=0, below=1)
    number("max_steps", max_steps, at_least=1, integer=True)
    if rtol < 10 * torch.finfo(dtype).eps:
        wider = "" if dtype == torch.float64 else "; or pass dtype=torch.float64"
        refuse("rtol", rtol, f"at least {10 * torch.finfo(dtype).eps:.1e}, ten roundings of {dtype}{wider}")


def check_flow(flow: Flow) -> None:
    """InputError in one line for what is no flow."""
    if not isinstance(flow, Flow):
        refuse("flow", flow, "a flow of theory/, such as Standard() or SignIn(1.0, 0.5)")


def check_device(device: str | torch.device) -> None:
    """InputError in one line for a device that is not there."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        there = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        raise InputError(f"device={str(device)!r} is not usable here; valid: {', '.join(there)}") from None


@lru_cache(maxsize=2)
def can_fuse(device: str) -> bool:
    """Whether torch.compile finds what it needs for this type of device."""
    if device == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except (InvalidCxxCompiler, RuntimeError):
        return False


def _run(flow: Flow, a: torch.Tensor, w: torch.Tensor, last: torch.Tensor, limits: Limits, fuse: bool) -> torch.Tensor:
    """Rows a, w, time, steps, reason of each start (5, N)."""
    out = a.new_zeros(5, len(a))
    out[0], out[1] = a, w
    reason = out[4]
    reason[(a == 0) & (w < 0)] = DEAD
    # On w = 0 the flow rests, by relu′(0) = 0, unless its chart leaves the wall in finite time.
    reason[w == 0] = DEAD
    reason[(w == 0) & (a == 0)] = SADDLE
    if flow.w.reaches_zero:
        reason[(w == 0) & (a > 0)] = CROSSED
    for side in (-1, 1):
        (rows,) = torch.nonzero((out[4] == RUNNING) & (side * w > 0), as_tuple=True)
        if len(rows):
            field = half_plane(flow, side)
            starts = torch.stack([a[rows], field.coordinate(w[rows])])
            out[:, rows] = follow(field, starts, _values(field, flow, starts), last[rows], limits, fuse)
        if side < 0:
            (through,) = torch.nonzero(out[4] == CROSSED, as_tuple=True)
            if len(through):
                _cross(flow, out, last, through, limits, fuse)
    return out


def follow(
    field: HalfPlane, starts: torch.Tensor, values: torch.Tensor, last: torch.Tensor, limits: Limits, fuse: bool
) -> torch.Tensor:
    """Rows a, w, time, steps, reason (5, N) of starts (a, y) (2, N) in one half-plane; near the saddle, again, closer.

    values: (P, N) the flow's parameters, which may differ from start to start.   last: (N,) horizons.
    """
    system = planar(field)
    if field.order < 1:
        finest = 10 * float(torch.finfo(starts.dtype).eps)
        limits = replace(limits, rtol=max(limits.rtol * AT_A_KINK, finest), atol=limits.atol * AT_A_KINK)
    out = march(system, starts, values, last, replace(limits, near=CLOSE * field.spread(list(values))), fuse=fuse)
    (close,) = torch.nonzero(out[4] == SEPARATRIX, as_tuple=True)
    if len(close):
        out[:, close] = _closely(system, starts[:, close], values[:, close], last[close], limits, fuse)
    out[1] = field.weight(out[1])
    return out


def _closely(
    system: System, starts: torch.Tensor, values: torch.Tensor, last: torch.Tensor, limits: Limits, fuse: bool
) -> torch.Tensor:
    """`follow` for starts that pass the saddle closely: at rounding, and on from there where they arrive."""
    tight = max(TIGHT, 20 * float(torch.finfo(starts.dtype).eps))
    fine = Limits(min(limits.rtol, tight), min(limits.atol, tight**1.5), limits.max_steps, limits.arrival)
    pair = dormand_prince_8()
    out = march(system, starts, values, last, replace(fine, near=CLOSEST), pair=pair, fuse=fuse)
    (near,) = torch.nonzero(out[4] == SEPARATRIX, as_tuple=True)
    if len(near):
        here = out[:, near]
        fine, left = replace(fine, near=AT_SADDLE), last[near] - here[2]
        on = march(system, here[:2], values[:, near], left, fine, pair=pair, fuse=fuse)
        on[2:4] += here[2:4]
        # What leaves again after coming so close has lost the digits that would tell on which side it should.
        decided = (on[4] == TEACHER) | (on[4] == WALL) | (on[4] == DEAD)
        arrived = torch.where(on[4] == SEPARATRIX, SADDLE, on[4])
        on[4] = torch.where(decided, SEPARATRIX, arrived)
        out[:, near] = on
    return out


def _values(field: HalfPlane, flow: Flow, like: torch.Tensor) -> torch.Tensor:
    """The flow's parameters as rows (P, N)."""
    return like.new_tensor(field.parameters(flow))[:, None].expand(-1, like.shape[1])


def _cross(
    flow: Flow, out: torch.Tensor, last: torch.Tensor, through: torch.Tensor, limits: Limits, fuse: bool
) -> None:
    """Continue from the wall, on the side w > 0, the trajectories that reached it from w < 0 with a > 0."""
    field = half_plane(flow, 1)
    starts = torch.stack([out[0, through], torch.zeros_like(out[0, through])])
    after = follow(field, starts, _values(field, flow, starts), last[through] - out[2, through], limits, fuse)
    after[2:4] += out[2:4, through]
    out[:, through] = after
