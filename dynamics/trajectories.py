"""Gradient flow of one neuron with d = 1 from many starts at once, each to its own end.

Events alone decide how a start ends, and theory/ is not asked: this is the independent witness of its basins.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from commons import InputError, broadcast, finite, number, refuse
from dynamics.events import planar
from dynamics.fields import HalfPlane, half_plane
from dynamics.native import compiler
from dynamics.outcome import CROSSED, DEAD, RUNNING, SADDLE, SEPARATRIX, TEACHER, WALL, Reason
from dynamics.stepper import System
from dynamics.tableaux import dormand_prince_8
from dynamics.workers import Limits, Starts, march
from theory.flows import Flow

ARRIVAL = 1e-3
DEFAULT_RTOL = {torch.float64: 1e-6, torch.float32: 1e-5}
CLOSE, CLOSEST, AT_SADDLE = 2e-2, 1e-5, 1e-8
TIGHT = 1e-12
WORTH_COMPILING = {"cpu": 1 << 14, "cuda": 1 << 22}  # starts, by type of device
# Where a field is not differentiable, as at w = 0 in a chart that reaches it, the error is underestimated that far.
AT_A_KINK = 1e-2
JUMPING = 1e-10  # rtol of sign descent


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
    if flow.a.order != 1 or flow.w.order != 1 or flow.exponent < 2:
        return 4 / arrival**3
    return 4 / (arrival * min(1.0, *(float(chart.metric(np.zeros(1))[0]) for chart in (flow.a, flow.w))))


def integrate(
    flow: Flow,
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    horizon: ArrayLike | None = None,
    rtol: float | None = None,
    atol: float = 0.0,
    arrival: float = ARRIVAL,
    max_steps: int = 10_000,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    fuse: bool | None = None,
) -> Trajectories:
    """Integrate the population flow dθ/dt = −g(θ)∇L, or sign descent, from each start until an event decides it.

    a0, w0: finite arrays that broadcast.
    horizon: flow time, a number or an array that broadcasts with the starts; None is `default_horizon`.
    rtol, atol: the error of a step stays below atol + rtol·‖(a, w)‖. None is 1e-6 for float64 and 1e-5 for float32; the
        finest rtol is ten roundings of the dtype, 1.2e-6 for float32. Starts that pass the saddle closely are
        integrated again, at 1e-12 or twenty roundings.
    arrival: the |aw − 1|, or |aw| at w < 0, that ends a trajectory.
    max_steps: steps after which a stiff trajectory is given up.
    device, dtype: where and in which precision, torch.float32 or torch.float64, the integration runs.
    fuse: compile the loop if a compiler is found. On a CPU that is the machine's C compiler; it takes about a second
        once for each flow, and None does so for 2¹⁴ starts and more. On a GPU torch's compiler takes a minute once
        and then seconds in each process, and None does so for 2²² starts and more.

    Raises:
        InputError: a start, a tolerance or the horizon is not a finite number in its range; the dtype is too narrow;
            the device is not there.
    """
    rtol = checked_rtol(rtol, atol, arrival, max_steps, dtype)
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
    fusing = (is_worth_compiling(a.size, device) if fuse is None else fuse) and can_fuse(torch.device(device).type)
    state = torch.stack([start_a, start_w])
    values = _run(flow, Starts(state, state[:0], end.expand(a.size)), limits, fusing)
    kinds = {"a": torch.float64, "w": torch.float64, "time": torch.float64, "steps": torch.int32, "reason": torch.int8}
    rows = zip(kinds.items(), values, strict=True)
    arrays = {name: row.to(kind).cpu().numpy().reshape(a.shape) for (name, kind), row in rows}  # narrowed over there
    reason = arrays["reason"]
    return Trajectories(
        outcome=OUTCOME_OF[reason],
        reason=reason,
        a=arrays["a"],
        w=arrays["w"],
        time=arrays["time"],
        steps=arrays["steps"],
    )


OUTCOME_OF = np.array([reason.outcome for reason in Reason], dtype=np.int8)


def checked_rtol(
    rtol: float | None, atol: float, arrival: float, max_steps: int, dtype: torch.dtype = torch.float64
) -> float:
    """The relative tolerance to use: rtol, or DEFAULT_RTOL of the dtype for None.

    Raises:
        InputError: a tolerance or max_steps out of its range, or an rtol that is finer than the dtype can hold.
    """
    if dtype not in DEFAULT_RTOL:
        refuse("dtype", dtype, "torch.float32 or torch.float64")
    rtol = DEFAULT_RTOL[dtype] if rtol is None else rtol
    number("rtol", rtol, above=0, below=1)
    number("atol", atol, at_least=0, below=1)
    number("arrival", arrival, above=0, below=1)
    number("max_steps", max_steps, at_least=1, integer=True)
    if rtol < 10 * torch.finfo(dtype).eps:
        wider = "" if dtype == torch.float64 else "; or pass dtype=torch.float64"
        refuse("rtol", rtol, f"at least {10 * torch.finfo(dtype).eps:.1e}, ten roundings of {dtype}{wider}")
    return rtol


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


def is_worth_compiling(starts: int, device: str | torch.device) -> bool:
    """Whether the loop of so many starts is compiled unless the caller says."""
    return starts >= WORTH_COMPILING.get(torch.device(device).type, starts + 1)


@lru_cache(maxsize=2)
def can_fuse(device: str) -> bool:
    """Whether there is a compiler for this type of device: one of C, or torch's for a GPU."""
    if device == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return device == "cpu" and compiler() is not None


def _run(flow: Flow, starts: Starts, limits: Limits, fuse: bool) -> torch.Tensor:
    """Where the flow takes starts with the state (a, w): rows a, w, time, steps, reason (5, N)."""
    a, w = starts.state
    out = torch.cat([starts.state, a.new_zeros(3, len(a))])
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
            state = torch.stack([a[rows], field.coordinate(w[rows])])
            side_starts = Starts(state, _values(field, flow, state), starts.horizon[rows])
            out[:, rows] = follow(field, side_starts, limits, fuse=fuse)
        if side < 0:
            (through,) = torch.nonzero(out[4] == CROSSED, as_tuple=True)
            if len(through):
                _cross(flow, out, starts.horizon[through], through, limits, fuse=fuse)
    return out


def follow(field: HalfPlane, starts: Starts, limits: Limits, *, fuse: bool = False) -> torch.Tensor:
    """Where starts with the state (a, y) of one half-plane end: rows a, w, time, steps, reason (5, N).

    A trajectory that passes the saddle closely is integrated again, more closely.
    """
    system = planar(field)
    if field.rough:
        finest = 10 * float(torch.finfo(starts.state.dtype).eps)
        limits = replace(limits, rtol=max(limits.rtol * AT_A_KINK, finest), atol=limits.atol * AT_A_KINK)
    if field.exponent < 2:
        return _stepped(field, system, starts, limits, fuse=fuse)
    out = march(system, starts, replace(limits, near=CLOSE * field.spread(list(starts.parameters))), fuse=fuse)
    (close,) = torch.nonzero(out[4] == SEPARATRIX, as_tuple=True)
    if len(close):
        out[:, close] = closely(planar(field, dormand_prince_8()), starts[close], limits, fuse=fuse)
    out[1] = field.weight(out[1])
    return out


def _stepped(field: HalfPlane, system: System, starts: Starts, limits: Limits, *, fuse: bool) -> torch.Tensor:
    """As `follow`, for sign descent, which passes the saddle in finite time: no small error grows there.

    It jumps where a slope changes its sign, and a step has to come as close to that as its error may be: `atol` bounds
    it below, so that no step falls below rounding.
    """
    finest = 10 * float(torch.finfo(starts.state.dtype).eps)
    fine = replace(limits, rtol=max(min(limits.rtol, JUMPING), finest), atol=max(limits.atol, JUMPING / 100))
    out = march(system, starts, replace(fine, near=10 * JUMPING), fuse=fuse)
    out[4][out[4] == SEPARATRIX] = SADDLE
    out[1] = field.weight(out[1])
    return out


def closely(system: System, starts: Starts, limits: Limits, *, fuse: bool = False) -> torch.Tensor:
    """Where starts that pass the saddle closely end, at a tolerance close to rounding: rows as `march` gives them.

    A trajectory that comes closer than CLOSEST goes on from there. It ends as SADDLE if it arrives, and as SEPARATRIX
    if it leaves again, since it has then lost the digits that would tell on which side it should.
    """
    tight, rows = max(TIGHT, 20 * float(torch.finfo(starts.state.dtype).eps)), system.width
    fine = Limits(min(limits.rtol, tight), min(limits.atol, tight**1.5), limits.max_steps, limits.arrival)
    out = march(system, starts, replace(fine, near=CLOSEST), fuse=fuse)
    (near,) = torch.nonzero(out[-1] == SEPARATRIX, as_tuple=True)
    if len(near):
        here, rest = out[:, near], starts[near]
        from_here = Starts(here[:rows], rest.parameters, rest.horizon - here[rows])
        on = march(system, from_here, replace(fine, near=AT_SADDLE), fuse=fuse)
        on[rows : rows + 2] += here[rows : rows + 2]
        left = (on[-1] == TEACHER) | (on[-1] == WALL) | (on[-1] == DEAD) | (on[-1] == CROSSED)
        arrived = torch.where(on[-1] == SEPARATRIX, SADDLE, on[-1])
        on[-1] = torch.where(left, SEPARATRIX, arrived)
        out[:, near] = on
    return out


def _values(field: HalfPlane, flow: Flow, like: torch.Tensor) -> torch.Tensor:
    """The parameters of the flow as rows (P, N), the same for every start."""
    return like.new_tensor(field.parameters(flow))[:, None].expand(-1, like.shape[1])


def _cross(
    flow: Flow, out: torch.Tensor, last: torch.Tensor, through: torch.Tensor, limits: Limits, *, fuse: bool
) -> None:
    """Continue, on the side w > 0, the trajectories `through` that reached the wall from w < 0 with a > 0."""
    field = half_plane(flow, 1)
    state = torch.stack([out[0, through], torch.zeros_like(out[0, through])])
    after = follow(field, Starts(state, _values(field, flow, state), last - out[2, through]), limits, fuse=fuse)
    after[2:4] += out[2:4, through]
    out[:, through] = after
