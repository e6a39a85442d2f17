"""The inner loop: a few adaptive Runge-Kutta steps on a block of independent trajectories, eager or compiled.

It never looks at a neighbour: each column has its own time, step size, event and end.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from dynamics.fields import Field, State
from dynamics.outcome import CROSSED, HORIZON, ROUNDOFF, STEPS
from dynamics.tableau import ERROR, STAGES, WEIGHTS

REJECT = -1.0
STEPS_A_CALL = 1
Event = Callable[[State, State, Sequence[torch.Tensor], torch.Tensor], torch.Tensor]
Gap = Callable[[State, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class System:
    """What to integrate.

    sizes: rows of each state component, 0 for a plain row.   parameters: number of parameter rows.
    event(before, after, parameters, limits): the Reason that after gives, 0 for none, REJECT where the exact flow
        could not have gone there in one step.
    gap(state, reason, limits): a number that passes through 0 where the event of that reason happens.
    limits: (arrival, near²) of the call, see `march.Limits`.
    """

    field: Field
    event: Event
    gap: Gap
    sizes: tuple[int, ...] = (0, 0)
    parameters: int = 0

    @property
    def width(self) -> int:
        return sum(max(size, 1) for size in self.sizes)

    @property
    def rows(self) -> int:
        """Rows of a block: state, slope at it, parameters, then horizon, step size, time, steps, reason, number."""
        return 2 * self.width + self.parameters + 6

    def state(self, lane: torch.Tensor, first: int = 0) -> State:
        """The state components of a block, as views: (N,), or (size, N)."""
        parts = []
        for size in self.sizes:
            parts.append(lane[first : first + size] if size else lane[first])
            first += max(size, 1)
        return tuple(parts)

    def given(self, lane: torch.Tensor) -> list[torch.Tensor]:
        """The parameter rows of a block."""
        return [lane[2 * self.width + i] for i in range(self.parameters)]


def length2(state: State) -> torch.Tensor:
    """Squared Euclidean norm over all components, (N,)."""
    parts = [x * x if x.dim() == 1 else (x * x).sum(0) for x in state]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def combine(state: State, h: torch.Tensor, slopes: Sequence[State], weights: Sequence[float]) -> State:
    """state + h Σ weightᵢ slopeᵢ."""
    moved = []
    for i, x in enumerate(state):
        change = weights[0] * slopes[0][i]
        for weight, slope in zip(weights[1:], slopes[1:], strict=False):
            change = change + weight * slope[i]
        moved.append(x + h * change)
    return tuple(moved)


def step(field: Field, state: State, slope: State, h: torch.Tensor, given: Sequence[torch.Tensor]) -> tuple[Any, ...]:
    """One step of size h: (new state, slope there, squared norm of the error estimate)."""
    slopes = [slope]
    for weights in STAGES:
        slopes.append(field(combine(state, h, slopes, weights), given))
    new = combine(state, h, slopes, WEIGHTS)
    slopes.append(field(new, given))
    zero = tuple(torch.zeros_like(x) for x in state)
    return new, slopes[-1], length2(combine(zero, h, slopes, ERROR))


def pick(condition: torch.Tensor, first: State, second: State) -> State:
    return tuple(torch.where(condition, x, y) for x, y in zip(first, second, strict=True))


def advance(system: System, lane: torch.Tensor, limits: torch.Tensor, count: int = STEPS_A_CALL) -> None:
    """Take up to `count` steps, in place, with every column whose reason is 0; limits as in `march.Limits`."""
    rtol, atol, most, _, _ = limits
    tiny = 8 * torch.finfo(lane.dtype).eps
    state, slope = system.state(lane), system.state(lane, system.width)
    given = system.given(lane)
    horizon, h, t, steps, reason = lane[-6], lane[-5], lane[-4], lane[-3], lane[-2]
    for _ in range(count):
        running = reason == 0
        tried = torch.minimum(h, horizon - t)
        new, new_slope, error2 = step(system.field, state, slope, tried, given)
        scale = atol + rtol * length2(state).sqrt()
        ratio2 = error2 / (scale * scale)
        event = system.event(state, new, given, limits[3:])
        fits = running & (ratio2 <= 1)
        allowed = event != REJECT
        hit, move = fits & (event > 0), fits & (event == 0)
        growth = (0.9 * torch.exp(-0.1 * torch.log(ratio2 + 1e-30))).clamp(0.2, 5.0)
        growth = torch.where(allowed & (ratio2 < 1e30), growth, 0.25)
        state, slope = pick(move, new, state), pick(move, new_slope, slope)
        t = torch.where(move, t + tried, t)
        steps = torch.where(running, steps + 1, steps)
        h = torch.where(running, torch.where(hit, tried, tried * growth), h)
        ended = torch.where(steps >= most, STEPS, 0.0)
        ended = torch.where(h > tiny * t, ended, ROUNDOFF)
        ended = torch.where(t >= horizon, HORIZON, ended)
        reason = torch.where(hit, event, torch.where(running, ended, reason))
    for old, now in zip((*system.state(lane), *system.state(lane, system.width)), (*state, *slope), strict=True):
        old.copy_(now)
    for row, value in enumerate((h, t, steps, reason), start=-5):
        lane[row].copy_(value)


def begin(system: System, lane: torch.Tensor, limits: torch.Tensor) -> None:
    """Write the slope at each start and a first step size, a tenth of the time in which the state would change."""
    state, given = system.state(lane), system.given(lane)
    small = torch.finfo(lane.dtype).tiny
    slope = system.field(state, given)
    for old, now in zip(system.state(lane, system.width), slope, strict=True):
        old.copy_(now)
    size, speed = length2(state).sqrt(), length2(slope).sqrt()
    later = system.field(combine(state, 0.01 * size / (speed + small), [slope], [1.0]), given)
    bend = length2(tuple(x - y for x, y in zip(later, slope, strict=True))).sqrt() / (0.01 * size + small) * speed
    first = 0.1 * torch.minimum(size / (speed + small), 4 * speed / (bend + small))
    lane[-5].copy_(torch.minimum(first, lane[-6]).clamp_min(1e-12))


def locate(system: System, lane: torch.Tensor, limits: torch.Tensor, rounds: int = 3) -> None:
    """Shorten the last step of every column that ended in an event to end on it: regula falsi on the gap (Illinois)."""
    state, slope, given = system.state(lane), system.state(lane, system.width), system.given(lane)
    h, t, reason = lane[-5], lane[-4], lane[-2]
    landed = (reason > 0) & (reason <= CROSSED)
    end, _, _ = step(system.field, state, slope, h, given)
    low, high = torch.zeros_like(h), torch.ones_like(h)
    left, right = system.gap(state, reason, limits[3:]), system.gap(end, reason, limits[3:])
    part = high
    for _ in range(rounds):
        part = (low + (high - low) * left / (left - right)).clamp(0.0, 1.0)
        part = torch.where(part.isnan(), high, part)
        end, _, _ = step(system.field, state, slope, part * h, given)
        middle = system.gap(end, reason, limits[3:])
        before = middle > 0
        low, high = torch.where(before, part, low), torch.where(before, high, part)
        left, right = torch.where(before, middle, left / 2), torch.where(before, right / 2, middle)
    move = landed & end[0].isfinite().reshape(-1, t.shape[-1]).all(0)
    t.copy_(torch.where(move, t + part * h, t))
    for old, now in zip(system.state(lane), end, strict=True):
        old.copy_(torch.where(move, now, old))


@lru_cache(maxsize=64)
def compiled(system: System) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """`advance` bound to a system and fused by torch.compile for blocks of any length."""

    def call(lane: torch.Tensor, limits: torch.Tensor) -> None:
        advance(system, lane, limits)

    return torch.compile(call, dynamic=True, fullgraph=True)
