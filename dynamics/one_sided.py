"""Integration at d = 1 of more than a and w, for starts of one sign of w, up to a horizon or to the wall w = 0."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import sympy as sp
import torch
from numpy.typing import ArrayLike, NDArray

from commons import broadcast, number, refuse
from dynamics.fields import State
from dynamics.outcome import WALL
from dynamics.stepper import System
from dynamics.trajectories import ARRIVAL, checked_rtol
from dynamics.workers import Limits, Starts, march
from theory.flows import Flow, SignIn
from theory.neuron import loss_negative, loss_positive


@dataclass(frozen=True)
class OneSided:
    """Checked starts a, w (N,) float64 on one side of the wall, and how far to follow them.

    side: 1 where w > 0 throughout, −1 where w < 0. horizon: flow time.
    """

    a: NDArray[np.float64]
    w: NDArray[np.float64]
    side: int
    horizon: float
    limits: Limits

    @classmethod
    def of(
        cls,
        flow: Flow,
        a0: ArrayLike,
        w0: ArrayLike,
        horizon: float,
        rtol: float | None,
        atol: float,
        max_steps: int,
    ) -> "OneSided":
        """Check what is given.

        Raises:
            InputError: as `integrate`, w0 of both signs or 0, or a flow without factors.
        """
        rtol = checked_rtol(rtol, atol, ARRIVAL, max_steps)
        number("horizon", horizon, above=0)
        if not isinstance(flow, SignIn):
            refuse("flow", flow, "SignIn(...), whose weights are products of factors")
        a, w = (x.ravel() for x in broadcast(a0=a0, w0=w0))
        side = 1 if (w > 0).all() else -1
        if not (side * w > 0).all():
            refuse("w0", w0, "above 0 throughout, or below")
        return cls(a, w, side, float(horizon), Limits(rtol, atol, max_steps, ARRIVAL))

    def loss(self, a: sp.Expr, w: sp.Expr) -> sp.Expr:
        """The population loss on this side of the wall."""
        return (loss_positive if self.side > 0 else loss_negative)(a, w)

    def follow(
        self,
        field: Callable[[State], State],
        weight: Callable[[State], torch.Tensor],
        states: Sequence[NDArray[np.float64]],
    ) -> NDArray[np.float64]:
        """March from states, K arrays (N,), along field; weight: the w of a state.

        Returns (K + 3, N): the last states, the time, the number of steps and the reason.
        """

        def event(before: State, after: State, given: Sequence[torch.Tensor], stop: torch.Tensor) -> torch.Tensor:
            return torch.where(self.side * weight(after) < 0, WALL, torch.zeros_like(after[0]))

        def gap(state: State, reason: torch.Tensor, stop: torch.Tensor) -> torch.Tensor:
            return self.side * weight(state)

        system = System(lambda state, given: field(state), event, gap, (0,) * len(states))
        starts = torch.as_tensor(np.stack(states))
        last = torch.full((self.a.size,), self.horizon, dtype=torch.float64)
        return march(system, Starts(starts, starts[:0], last), self.limits).numpy()
