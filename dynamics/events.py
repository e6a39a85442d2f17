"""The d = 1 flow as two systems to integrate, one for each half-plane, with the events that end a trajectory.

The events judge a start by where its trajectory goes; they do not ask theory/ for its basin.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch

from dynamics.fields import HalfPlane, State
from dynamics.outcome import CROSSED, DEAD, SEPARATRIX, TEACHER, WALL
from dynamics.stepper import REJECT, System
from dynamics.tableaux import TSIT5, Pair


@lru_cache(maxsize=64)
def planar(field: HalfPlane, pair: Pair = TSIT5) -> System:
    """The system of one half-plane in the coordinates (a, y) of `HalfPlane`."""
    events = (_PositiveEvents if field.side > 0 else _NegativeEvents)(field)
    return System(field, events.event, events.gap, (0, 0), len(field.parameter_names), pair)


class _PositiveEvents:
    """w > 0: the teacher aw = 1, the wall w = 0, and the neighbourhood of the saddle."""

    def __init__(self, field: HalfPlane) -> None:
        self.field = field

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        a, y = after
        product = a * (y if self.field.regular else self.field.weight(y))
        reason = torch.where((product - 1).abs() <= stop[0], TEACHER, torch.zeros_like(a))
        if not self.field.crosses:
            reason = torch.where((a < 0) & (y <= -stop[0] * a), DEAD, reason)
        reason = torch.where((a < 0) & (a * a + y * y < stop[1]), SEPARATRIX, reason)
        # From a > 0 the exact flow moves away from the wall: a step that lands behind it was too long.
        behind = torch.where(before[0] > 0, REJECT, torch.full_like(a, WALL))
        reason = torch.where(y < 0, behind, reason)
        if self.field.exponent < 2:
            return reason
        # While a < 0 w falls. In a stiff flow steps that are too long for w would leave it above the wall for ever.
        return torch.where((before[0] < 0) & (a < 0) & (y > before[1]), REJECT, reason)

    def gap(self, state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        a, y = state
        product = a * (y if self.field.regular else self.field.weight(y))
        # The approaches to the teacher and the saddle are exponential, so their logarithms are nearly straight.
        teacher = (((product - 1).abs() + 1e-30) / stop[0]).log()
        other = torch.where(reason == DEAD, y + stop[0] * a, ((a * a + y * y) / stop[1]).log())
        return torch.where(reason == TEACHER, teacher, torch.where(reason == WALL, y, other))


class _NegativeEvents:
    """w < 0: the loss can only fall to ¼; through w = 0 only where the chart reaches zero in finite time."""

    def __init__(self, field: HalfPlane) -> None:
        self.field = field

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
        a, y = after
        still = torch.where(self._remaining(a, y, stop) <= 0, DEAD, torch.zeros_like(a))
        if not self.field.crosses:
            return torch.where(y < 0, REJECT, still)
        through = torch.where(after[0] > 0, CROSSED, torch.full_like(a, WALL))
        return torch.where(y < 0, through, still)

    def gap(self, state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        a, y = state
        return torch.where(reason == DEAD, self._remaining(a, y, stop), y)

    def _remaining(self, a: torch.Tensor, y: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
        """How far |aw| is above its bound; where w = 0 leads on to the teacher, how far a is above its own beside w."""
        left = (a * (y if self.field.regular else self.field.weight(y))).abs() - stop[0]
        if not self.field.crosses:
            return left
        beside = a - stop[0] * y.abs().clamp_min(torch.finfo(y.dtype).tiny) ** (self.field.power / self.field.order)
        return torch.where(a > 0, beside, left)
