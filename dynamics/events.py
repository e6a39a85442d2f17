"""The d = 1 flow as systems to integrate: one for each half-plane, with the events that end a trajectory.

It knows no basin: a start is judged by where its trajectory goes.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch

from dynamics.fields import HalfPlane, State
from dynamics.outcome import CROSSED, DEAD, SEPARATRIX, TEACHER, WALL
from dynamics.stepper import REJECT, System


@lru_cache(maxsize=64)
def planar(field: HalfPlane) -> System:
    """The system of one half-plane in (a, y), see `HalfPlane`; limits are (arrival, near²)."""
    events = (_PositiveEvents if field.side > 0 else _NegativeEvents)(field)
    return System(field, events.event, events.gap, (0, 0), len(field.parameter_names))


class _PositiveEvents:
    """w > 0: the teacher aw = 1, the wall w = 0, and the neighbourhood of the saddle."""

    def __init__(self, field: HalfPlane) -> None:
        self.field = field

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], limits: torch.Tensor) -> torch.Tensor:
        a, y = after
        product = a * (y if self.field.regular else self.field.weight(y))
        reason = torch.where((product - 1).abs() <= limits[0], TEACHER, torch.zeros_like(a))
        if not self.field.crosses:
            reason = torch.where((a < 0) & (y <= -limits[0] * a), DEAD, reason)
        reason = torch.where((a < 0) & (a * a + y * y < limits[1]), SEPARATRIX, reason)
        # From a > 0 the exact flow moves away from the wall: a step that lands behind it was too long.
        behind = torch.where(before[0] > 0, REJECT, torch.full_like(a, WALL))
        return torch.where(y < 0, behind, reason)

    def gap(self, state: State, reason: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        a, y = state
        product = a * (y if self.field.regular else self.field.weight(y))
        # The approaches to the teacher and the saddle are exponential, so their logarithms are nearly straight.
        teacher = (((product - 1).abs() + 1e-30) / limits[0]).log()
        other = torch.where(reason == DEAD, y + limits[0] * a, ((a * a + y * y) / limits[1]).log())
        return torch.where(reason == TEACHER, teacher, torch.where(reason == WALL, y, other))


class _NegativeEvents:
    """w < 0: the loss can only fall to ¼; through w = 0 only where the chart reaches zero in finite time."""

    def __init__(self, field: HalfPlane) -> None:
        self.field = field

    def event(self, before: State, after: State, given: Sequence[torch.Tensor], limits: torch.Tensor) -> torch.Tensor:
        a, y = after
        still = torch.where(self._remaining(a, y, limits) <= 0, DEAD, torch.zeros_like(a))
        if not self.field.crosses:
            return torch.where(y < 0, REJECT, still)
        through = torch.where(after[0] > 0, CROSSED, torch.full_like(a, WALL))
        return torch.where(y < 0, through, still)

    def gap(self, state: State, reason: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        a, y = state
        return torch.where(reason == DEAD, self._remaining(a, y, limits), y)

    def _remaining(self, a: torch.Tensor, y: torch.Tensor, limits: torch.Tensor) -> torch.Tensor:
        """What is left of |aw|, or, where w = 0 leads on to the teacher, of |a| beside w."""
        left = (a * (y if self.field.regular else self.field.weight(y))).abs() - limits[0]
        if not self.field.crosses:
            return left
        beside = a - limits[0] * y.abs().clamp_min(torch.finfo(y.dtype).tiny) ** (self.field.power / self.field.order)
        return torch.where(a > 0, beside, left)
