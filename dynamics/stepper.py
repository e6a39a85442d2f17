"""The inner loop: one adaptive Runge-Kutta step of a block of independent trajectories, eager or compiled.

It never looks at a neighbour: each column has its own time, step size, event and end. Steps are chosen by arithmetic
and square roots alone, which round the same way in every place of a block, on one thread or many, compiled or not.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch

from dynamics.fields import Field, State
from dynamics.outcome import CROSSED, HORIZON, ROUNDOFF, STEPS
from dynamics.tableaux import Pair

REJECT = -1.0
Event = Callable[[State, State, Sequence[torch.Tensor], torch.Tensor], torch.Tensor]
Gap = Callable[[State, torch.Tensor, torch.Tensor], torch.Tensor]
Block = torch.Tensor


@dataclass(frozen=True, eq=False)
class System:
    """What to integrate.

    sizes: rows of each state component, 0 for a plain row.   parameters: number of parameter rows.
    event(before, after, parameters, limits): the Reason that after gives, 0 for none, REJECT where the exact flow
        could not have gone there in one step.
    gap(state, reason, limits): a number that passes through 0 where the event of that reason happens.
    limits: (arrival, near²) of the call, see `march.Limits`.

    A block (2·width + 4, N) holds, in rows, the state, time, steps, reason, step size and the slope there; beside it
    go the rows that do not change, (parameters + 1, N): parameters and horizon.
    """

    field: Field
    event: Event
    gap: Gap
    sizes: tuple[int, ...] = (0, 0)
    parameters: int = 0

    @property
    def width(self) -> int:
        return sum(max(size, 1) for size in self.sizes)

    def components(self, rows: torch.Tensor) -> State:
        """Rows (width, N) as state components, views of (N,) or (size, N)."""
        parts, first = [], 0
        for size in self.sizes:
            parts.append(rows[first : first + size] if size else rows[first])
            first += max(size, 1)
        return tuple(parts)

    def unpack(self, block: Block) -> tuple[State, State, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """State, slope, time, steps, reason and step size."""
        w = self.width
        return self.components(block[:w]), self.components(block[w + 4 :]), *block[w : w + 4]

    def pack(self, state: State, slope: State, *rows: torch.Tensor) -> Block:
        """The block of what `unpack` gives, in the order time, steps, reason, step size."""
        return stacked(*state, *rows, *slope)


def stacked(*parts: torch.Tensor) -> torch.Tensor:
    """Rows (N,) and groups of rows (size, N) as one tensor."""
    return torch.cat([x if x.dim() == 2 else x[None] for x in parts])


def length2(state: State) -> torch.Tensor:
    """Squared Euclidean norm over all components, (N,)."""
    parts = [x * x if x.dim() == 1 else (x * x).sum(0) for x in state]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def weighted(slopes: Sequence[State], weights: Sequence[float]) -> State:
    """Σ weightᵢ slopeᵢ, leaving out zero weights."""
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
    field: Field, pair: Pair, state: State, slope: State, h: torch.Tensor, given: Sequence[torch.Tensor]
) -> tuple[State, State, torch.Tensor]:
    """One step of size h: new state, slope there, squared norm of the error estimate."""
    slopes = [slope]
    for row in pair.stages:
        slopes.append(field(moved(state, h, weighted(slopes, row)), given))
    new = moved(state, h, weighted(slopes, pair.weights))
    slopes.append(field(new, given))
    error, *coarse = (length2(weighted(slopes, row)) for row in pair.errors)
    for other in coarse:
        error = error * (error / (error + 0.01 * other + torch.finfo(h.dtype).tiny))
    return new, slopes[-1], error * (h * h)


def pick(condition: torch.Tensor, first: State, second: State) -> State:
    return tuple(torch.where(condition, x, y) for x, y in zip(first, second, strict=True))


def advance(system: System, pair: Pair, block: Block, fixed: torch.Tensor, limits: torch.Tensor) -> Block:
    """The block after one step of every column whose reason is 0; limits as in `march.Limits`."""
    rtol, atol, most, _, _ = limits
    eps = torch.finfo(block.dtype).eps
    state, slope, t, steps, reason, h = system.unpack(block)
    given, horizon = list(fixed[:-1]), fixed[-1]
    running = reason == 0
    tried = torch.minimum(h, horizon - t)
    new, new_slope, error2 = step(system.field, pair, state, slope, tried, given)
    scale = atol + rtol * length2(state).sqrt()
    ratio2 = error2 / (scale * scale)
    event = system.event(state, new, given, limits[3:])
    fits = running & (ratio2 <= 1)
    hit, move = fits & (event > 0), fits & (event == 0)
    root = ratio2 + 1e-30
    for _ in range(pair.roots):
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


def begin(system: System, pair: Pair, starts: torch.Tensor, fixed: torch.Tensor, limits: torch.Tensor) -> Block:
    """The block of starts (width, N), with a first step of a tenth of the time in which the state would change."""
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
    system: System, pair: Pair, block: Block, fixed: torch.Tensor, limits: torch.Tensor, bracket: torch.Tensor
) -> torch.Tensor:
    """One round of regula falsi (Anderson & Björck 1973) for where in its last step each column met its event.

    bracket (6 + width, N): the parts of the step between which the gap changes sign, the gaps there (0 at the end of
    the step for one not known yet), which of the two moved last (1 the first, −1 the second, 0 none), the part tried
    last, and the state there.
    """
    state, slope, _, _, reason, h = system.unpack(block)
    low, high, left, right, moved_last, _ = bracket[:6]
    part = (low + (high - low) * left / (left - right)).clamp(0.0, 1.0)
    part = torch.where(part.isnan(), high, part)
    end, _, _ = step(system.field, pair, state, slope, part * h, list(fixed[:-1]))
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
    """The functions of a block, the fixed rows and the limits, with a system and a pair filled in."""

    system: System
    begin: Callable[..., Block]
    advance: Callable[..., Block]
    narrow: Callable[..., torch.Tensor]


def eager(system: System, pair: Pair) -> Kernel:
    """The functions as they are."""
    return Kernel(system, *(partial(function, system, pair) for function in (begin, advance, narrow)))


def locate(kernel: Kernel, block: Block, fixed: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
    """Rows state, time, steps, reason (width + 3, N) of columns that have ended, each where its event is."""
    system = kernel.system
    state, _, t, _, reason, h = system.unpack(block)
    none, left = torch.zeros_like(h), system.gap(state, reason, limits[3:])
    bracket = stacked(none, none + 1, left, none, none, none, block[: system.width])
    for _ in range(LOCATIONS):
        bracket = kernel.narrow(block, fixed, limits, bracket)
    end = bracket[6:]
    move = (reason > 0) & (reason <= CROSSED) & end.isfinite().all(0)
    at = torch.cat([end, (t + bracket[5] * h)[None]])
    rows = system.width + 1
    return torch.cat([torch.where(move, at, block[:rows]), block[rows : rows + 2]])


LOCATIONS = 4


@lru_cache(maxsize=64)
def fused(system: System, pair: Pair, device: str) -> Kernel:
    """The functions compiled for blocks of any length on one type of device.

    On a CPU they are single-threaded loops that let go of Python's lock, so that threads can run them side by side.
    """
    options: dict[str, Any] = {"cpp_wrapper": True, "cpp.threads": 1} if device == "cpu" else {}

    def compiled(function: Callable[..., Block]) -> Callable[..., Block]:
        def call(*arguments: torch.Tensor) -> Block:
            return function(system, pair, *arguments)

        # Compiled code is kept by code object: with one for all closures, each would wait behind the others' guards.
        own = FunctionType(call.__code__.replace(), call.__globals__, closure=call.__closure__)
        result: Callable[..., Block] = torch.compile(own, dynamic=True, fullgraph=True, options=options)
        return result

    return Kernel(system, compiled(begin), compiled(advance), compiled(narrow))
