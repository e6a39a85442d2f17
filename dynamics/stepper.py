"""The inner loop: one adaptive Runge-Kutta step of a block of independent trajectories, eager or compiled.

Each column of a block has its own time, step size, event and end, and none depends on its neighbours. Step sizes are
found by arithmetic and square roots alone, which round the same way in every place of a block, on one thread or many,
compiled or not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch

from dynamics.fields import Field, State
from dynamics.outcome import CROSSED, HORIZON, ROUNDOFF, STEPS
from dynamics.tableaux import TSIT5, Pair

REJECT = -1.0
Event = Callable[[State, State, Sequence[torch.Tensor], torch.Tensor], torch.Tensor]
Gap = Callable[[State, torch.Tensor, torch.Tensor], torch.Tensor]
Block = torch.Tensor


@dataclass(frozen=True, eq=False)
class System:
    """What to integrate, and by which pair.

    field(state, parameters): the velocity of a state.
    event(before, after, parameters, stop): the Reason for which a step ends the trajectory, 0 if it goes on, or REJECT
        if the exact flow could not have gone from before to after in one step.
    gap(state, reason, stop): the event function of a reason; its zero locates the event within the last step.
    sizes: how many rows each component of the state has, with 0 for a component of shape (N,).
    parameters: how many rows of parameters the field takes.

    `stop` is (arrival, near²) of `workers.Limits`.

    A block is a tensor (2·width + 4, N). Its rows are the state, time, steps, reason, step size and the velocity at the
    state. The rows that do not change, (parameters + 1, N), are kept beside it: the parameters and the horizon.
    """

    field: Field
    event: Event
    gap: Gap
    sizes: tuple[int, ...] = (0, 0)
    parameters: int = 0
    pair: Pair = TSIT5

    @property
    def width(self) -> int:
        """Rows of the state."""
        return sum(max(size, 1) for size in self.sizes)

    def components(self, rows: torch.Tensor) -> State:
        """The rows (width, N) as the components of a state, which are views of shape (N,) or (size, N)."""
        parts, first = [], 0
        for size in self.sizes:
            parts.append(rows[first : first + size] if size else rows[first])
            first += max(size, 1)
        return tuple(parts)

    def unpack(self, block: Block) -> tuple[State, State, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The state, the velocity there, time, steps, reason and step size of a block."""
        w = self.width
        return self.components(block[:w]), self.components(block[w + 4 :]), *block[w : w + 4]

    def pack(self, state: State, slope: State, *rows: torch.Tensor) -> Block:
        """The block of a state, its velocity, and the rows time, steps, reason and step size."""
        return stacked(*state, *rows, *slope)


def stacked(*parts: torch.Tensor) -> torch.Tensor:
    """Parts of shape (N,) or (size, N) below each other in one tensor."""
    return torch.cat([x if x.dim() == 2 else x[None] for x in parts])


def length2(state: State) -> torch.Tensor:
    """The squared Euclidean norm of a state over all its components, (N,)."""
    parts = [x * x if x.dim() == 1 else (x * x).sum(0) for x in state]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def weighted(slopes: Sequence[State], weights: Sequence[float]) -> State:
    """Σ weightᵢ·slopeᵢ, without the terms whose weight is 0."""
    totals: list[torch.Tensor] = []
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            terms = [weight * x for x in slope]
            totals = [x + y for x, y in zip(totals, terms, strict=True)] if totals else terms
    return tuple(totals)


def moved(state: State, h: torch.Tensor, change: State) -> State:
    """state + h·change."""
    return tuple(x + h * y for x, y in zip(state, change, strict=True))


def step(
    system: System, state: State, slope: State, h: torch.Tensor, given: Sequence[torch.Tensor]
) -> tuple[State, State, torch.Tensor]:
    """The new state after one step of size h, the velocity there, and the squared norm of the error estimate."""
    slopes = [slope]
    for row in system.pair.stages:
        slopes.append(system.field(moved(state, h, weighted(slopes, row)), given))
    new = moved(state, h, weighted(slopes, system.pair.weights))
    slopes.append(system.field(new, given))
    error, *coarse = (length2(weighted(slopes, row)) for row in system.pair.errors)
    for other in coarse:
        error = error * (error / (error + 0.01 * other + torch.finfo(h.dtype).tiny))
    return new, slopes[-1], error * (h * h)


def pick(condition: torch.Tensor, first: State, second: State) -> State:
    """The first state where the condition (N,) holds, else the second."""
    return tuple(torch.where(condition, x, y) for x, y in zip(first, second, strict=True))


def advance(system: System, block: Block, fixed: torch.Tensor, limits: torch.Tensor) -> Block:
    """The block after one step of every column whose reason is 0; limits is the tensor of `workers.Limits`."""
    rtol, atol, most, _, _ = limits
    eps = torch.finfo(block.dtype).eps
    state, slope, t, steps, reason, h = system.unpack(block)
    given, horizon = list(fixed[:-1]), fixed[-1]
    running = reason == 0
    tried = torch.minimum(h, horizon - t)
    new, new_slope, error2 = step(system, state, slope, tried, given)
    scale = atol + rtol * length2(state).sqrt()
    ratio2 = error2 / (scale * scale)
    event = system.event(state, new, given, limits[3:])
    fits = running & (ratio2 <= 1)
    hit, move = fits & (event > 0), fits & (event == 0)
    root = ratio2 + 1e-30
    for _ in range(system.pair.roots):
        root = root.sqrt()
    growth = (0.9 / root).clamp(0.2, 5.0)
    growth = torch.where((event != REJECT) & (ratio2 < 1e30), growth, 0.25)
    t = torch.where(move, t + tried, t)
    steps = torch.where(running, steps + 1, steps)
    h = torch.where(running, torch.where(hit, tried, tried * growth), h)
    ended = torch.where(steps >= most, STEPS, torch.zeros_like(t))
    ended = torch.where(h > 8 * eps * t, ended, ROUNDOFF)
    ended = torch.where(t >= horizon, HORIZON, ended)
    reason = torch.where(hit, event, torch.where(running, ended, reason))
    return system.pack(pick(move, new, state), pick(move, new_slope, slope), t, steps, reason, h)


def begin(system: System, starts: torch.Tensor, fixed: torch.Tensor, limits: torch.Tensor) -> Block:
    """The block of starts (width, N), whose first step is a tenth of the time in which the state would change."""
    state, given = system.components(starts), list(fixed[:-1])
    small = torch.finfo(starts.dtype).tiny
    slope = system.field(state, given)
    size, speed = length2(state).sqrt(), length2(slope).sqrt()
    later = system.field(moved(state, 0.01 * size / (speed + small), slope), given)
    bend = length2(tuple(x - y for x, y in zip(later, slope, strict=True))).sqrt() / (0.01 * size + small) * speed
    first = 0.1 * torch.minimum(size / (speed + small), 4 * speed / (bend + small))
    zero = torch.zeros_like(size)
    return system.pack(state, slope, zero, zero, zero, torch.minimum(first, fixed[-1]).clamp_min(1e-12))


def narrow(
    system: System, block: Block, fixed: torch.Tensor, limits: torch.Tensor, bracket: torch.Tensor
) -> torch.Tensor:
    """One round of the search, by regula falsi (Anderson & Björck 1973), for the event in each column's last step.

    bracket: (6 + width, N). Its rows are the two parts of the step, in [0, 1], between which the gap changes sign; the
    gaps there, with 0 for a gap at the end of the step that is not known yet; which of the two moved last (1 the first,
    −1 the second, 0 none); the part tried last; and the state there.
    """
    state, slope, _, _, reason, h = system.unpack(block)
    low, high, left, right, moved_last, _ = bracket[:6]
    part = (low + (high - low) * left / (left - right)).clamp(0.0, 1.0)
    part = torch.where(part.isnan(), high, part)
    end, _, _ = step(system, state, slope, part * h, list(fixed[:-1]))
    gap = system.gap(end, reason, limits[3:])
    before = gap > 0
    # An end that stays for a second time in a row counts for less, or the other one would creep.
    less = 1 - gap / torch.where(before, left, right)
    less = torch.where(less > 0, less, 0.5)
    right = torch.where(before, torch.where(moved_last > 0, right * less, right), gap)
    left = torch.where(before, gap, torch.where(moved_last < 0, left * less, left))
    low, high = torch.where(before, part, low), torch.where(before, high, part)
    return stacked(low, high, left, right, torch.where(before, 1.0, -torch.ones_like(gap)), part, *end)


@dataclass(frozen=True)
class Kernel:
    """`begin`, `advance` and `narrow` of one system, as functions of the block, the fixed rows and the limits."""

    system: System
    begin: Callable[..., Block]
    advance: Callable[..., Block]
    narrow: Callable[..., torch.Tensor]


def eager(system: System) -> Kernel:
    """The functions of a system as they are, without a compiler."""
    return Kernel(system, *(partial(function, system) for function in (begin, advance, narrow)))


def locate(kernel: Kernel, block: Block, fixed: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """The rows state, time, steps and reason (width + 3, N) of columns that have ended, each at its event."""
    bracket = enclose(kernel.system, block, limits)
    for _ in range(LOCATIONS):
        bracket = kernel.narrow(block, fixed, limits, bracket)
    return settle(kernel.system, block, bracket)


LOCATIONS = 4


def enclose(system: System, block: Block, limits: torch.Tensor) -> torch.Tensor:
    """The bracket with which `narrow` begins: the whole last step of each column."""
    state, _, _, _, reason, h = system.unpack(block)
    none, left = torch.zeros_like(h), system.gap(state, reason, limits[3:])
    return stacked(none, none + 1, left, none, none, none, block[: system.width])


def settle(system: System, block: Block, bracket: torch.Tensor) -> torch.Tensor:
    """The rows of `locate` for columns whose event is enclosed; what no event ended stays where it is."""
    _, _, t, _, reason, h = system.unpack(block)
    end = bracket[6:]
    move = (reason > 0) & (reason <= CROSSED) & end.isfinite().all(0)
    at = torch.cat([end, (t + bracket[5] * h)[None]])
    rows = system.width + 1
    return torch.cat([torch.where(move, at, block[:rows]), block[rows : rows + 2]])


# No multiplication is contracted with an addition, so that steps round as they do eager; and each row of a block is
# computed and written by itself, where else every row would be computed in the place of every other one.
OPTIONS = {"emulate_precision_casts": True, "max_pointwise_cat_inputs": 0, "max_complex_pointwise_cat_inputs": 0}


def compiler_options() -> dict[str, Any]:
    """The options of torch's compiler on a GPU, of those that this version of torch knows."""
    from torch._inductor import config

    return {key: value for key, value in OPTIONS.items() if hasattr(config, key)}


@lru_cache(maxsize=64)
def fused(system: System) -> Kernel:
    """The functions of a system, compiled by torch for blocks of any length on a GPU."""
    options = compiler_options()

    def compiled(function: Callable[..., Block]) -> Callable[..., Block]:
        def call(*arguments: torch.Tensor) -> Block:
            return function(system, *arguments)

        # Compiled code is kept by code object: with one for all closures, each would wait behind the others' guards.
        own = FunctionType(call.__code__.replace(), call.__globals__, closure=call.__closure__)
        result: Callable[..., Block] = torch.compile(own, dynamic=True, fullgraph=True, options=options)
        return result

    return Kernel(system, compiled(begin), compiled(advance), compiled(narrow))
