"""How often a random start recovers the teacher, exactly or by quadrature with an error bound.

The starts are symmetric: each sign of a and of w is as likely as the other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from commons import choice, number
from theory.arrays import Array
from theory.flows import Flow
from theory.quadrature import integrate

FARTHEST = 12.0  # standard deviations; less than 1e-32 of a Gaussian lies beyond


class Probability(NamedTuple):
    """A probability and a bound on its absolute error."""

    value: float
    error: float


@dataclass(frozen=True)
class Gaussian:
    """Independent a and w with mean 0 and the standard deviations `std_a` and `std_w`, above 0."""

    std_a: float = 1.0
    std_w: float = 1.0

    def __post_init__(self) -> None:
        number("std_a", self.std_a, above=0)
        number("std_w", self.std_w, above=0)


@dataclass(frozen=True)
class Uniform:
    """Independent a ~ U(−limit_a, limit_a) and w ~ U(−limit_w, limit_w)."""

    limit_a: float = 1.0
    limit_w: float = 1.0

    def __post_init__(self) -> None:
        number("limit_a", self.limit_a, above=0)
        number("limit_w", self.limit_w, above=0)


@dataclass(frozen=True)
class Balanced:
    """|a| = |w| = scale·|x| and independent signs; law: that of x, "gaussian" (standard) or "uniform" on [−1, 1]."""

    scale: float = 1.0
    law: Literal["gaussian", "uniform"] = "gaussian"

    def __post_init__(self) -> None:
        number("scale", self.scale, above=0)
        choice("law", self.law, ("gaussian", "uniform"))


def success_probability(flow: Flow, init: Gaussian | Uniform | Balanced) -> Probability:
    """Probability that gradient flow (d = 1) from a random start, distributed as `init`, recovers the teacher.

    Exact (error 0 up to rounding) where the chart of w reaches zero, where both charts are equal, and for balanced
    starts of Sign-In; else one integral over w0 of the mass that the basin leaves to a0.
    """
    if isinstance(init, Balanced):
        return _balanced(flow, init)
    if flow.w.reaches_zero and flow.a.passes_zero:
        return Probability(0.5, 0.0)
    if not flow.a.passes_zero:
        return Probability(0.25, 0.0)
    if flow.a == flow.w:
        return Probability(0.5 - _equal_charts_loss(init), 0.0)
    if isinstance(init, Gaussian):
        from scipy.special import ndtr

        end = FARTHEST * init.std_w

        def mass(w: Array) -> Array:
            reach = flow.a.weight(flow.w.radius(w))
            density = np.exp(-((w / init.std_w) ** 2) / 2) / (np.sqrt(2 * np.pi) * init.std_w)
            return np.asarray(density * ndtr(reach / init.std_a))

        return _sum(mass, np.array([0.0, end]))
    share, error = _second_quadrant(flow, init.limit_a, init.limit_w)
    return Probability((1 + share) / 4, error / 4)


def quadrant_share(flow: Flow, extent: float = 2.0) -> Probability:
    """The share of the starts a < 0 < w in [−extent, extent]², all equally likely, that a flow takes to the teacher (d
    = 1).

    Raises:
        InputError: extent is not a positive number.
    """
    number("extent", extent, above=0)
    return _second_quadrant(flow, extent, extent) if flow.a.passes_zero else Probability(0.0, 0.0)


def _second_quadrant(flow: Flow, limit_a: float, limit_w: float) -> Probability:
    """Share of the starts in (−limit_a, 0) × (0, limit_w) that recover: for each w, those with |a| below its reach."""
    covers = float(flow.w.weight(flow.a.radius(np.array([limit_a])))[0])  # from here on w recovers every a

    def reached(w: Array) -> Array:
        return np.asarray(np.minimum(flow.a.weight(flow.w.radius(w)) / limit_a, 1.0) / limit_w)

    return _sum(reached, np.array([0.0, min(covers, limit_w), limit_w]))


def _equal_charts_loss(init: Gaussian | Uniform) -> float:
    """The mass of a < −w < 0, where equal charts fail although w > 0."""
    if isinstance(init, Gaussian):
        return float(np.arctan2(init.std_a, init.std_w) / (2 * np.pi))
    ratio = init.limit_w / init.limit_a
    return (1 - ratio / 2 if ratio < 1 else 1 / (2 * ratio)) / 4


def _sum(function: Callable[[Array], Array], edges: Array) -> Probability:
    parts, errors = integrate(lambda x, rows: function(x), edges[:-1], edges[1:])
    return Probability(float(parts.sum()), float(errors.sum() + 4 * np.finfo(float).eps))


def _balanced(flow: Flow, init: Balanced) -> Probability:
    """¼ from a, w > 0, and ¼ of the mass of |a| = |w| = r at which the deciding layer has the larger radius."""
    if not flow.a.passes_zero:
        return Probability(0.25, 0.0)
    if flow.w.reaches_zero:
        return Probability(0.5, 0.0)

    def advantage(r: Array) -> Array:
        return flow.w.radius(r) - flow.a.radius(r)

    grid = init.scale * np.logspace(-12, 2, 2000)
    wins = advantage(grid) > 0
    turns = np.flatnonzero(wins[1:] != wins[:-1])
    low, high = grid[turns], grid[turns + 1]
    for _ in range(60):
        middle = (low + high) / 2
        same = (advantage(middle) > 0) == wins[turns]
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    edges = _mass(np.concatenate([[0.0], high, [np.inf]]) / init.scale, init.law)
    side = wins[np.concatenate([turns, [len(grid) - 1]])]
    error = 0.0 if not len(turns) else 1e-12
    return Probability(float(0.25 + 0.25 * np.diff(edges)[side].sum()), error)


def _mass(r: Array, law: str) -> Array:
    """P(|x| < r)."""
    if law == "uniform":
        return np.minimum(r, 1.0)
    from scipy.special import erf

    return np.asarray(erf(r / np.sqrt(2)))
