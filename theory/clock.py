"""How long the flow takes along an orbit, as one integral for each of three stages, and the inverse of that.

The stages are "early", where w > 0 and aw rises to ½ or the orbit comes to w = 0; "late", where w > 0 and aw is near 1
or above it; and "below", where w < 0. All arrays are (N,) float64 with one orbit in each place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from theory.arrays import Array
from theory.flows import Flow
from theory.invariants import TINIEST_INVARIANT, angle_of_product, growth, orbit
from theory.quadrature import integrate
from theory.roots import increasing_root

NEGLIGIBLE = 38.0  # e^{−38} of an integral is below rounding
EXACT = 3e-13  # relative error of a duration
SMALLEST_LOG = -200.0  # of |aw|, below which w has come to rest on 0 for every purpose


@dataclass(frozen=True)
class Clock:
    """Durations on the orbits c = ρ_a² − ρ_w² of a flow; `sign` is that of a on the orbits with c ≥ 0.

    In each stage a coordinate grows with time. In the early stage it is the hyperbolic angle of the orbit if c < 0, and
    ± ln sinh of it if c ≥ 0; in the late stage it is −ln|1 − aw|, and below it is −ln|aw|.
    """

    flow: Flow
    c: Array
    sign: Array

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Clock":
        return Clock(self.flow, self.c[rows], self.sign[rows])

    def early_start(self, radius_a: Array, radius_w: Array) -> Array:
        """The early coordinate of a point with w ≥ 0; a point with w = 0 has that of one just above it."""
        size = np.sqrt(np.maximum(np.abs(self.c), TINIEST_INVARIANT))
        lowest = -NEGLIGIBLE - np.log1p(size)
        with np.errstate(divide="ignore"):
            along = np.where(radius_w > 0, np.log(radius_w / size), lowest)
        return np.where(self.c < 0, np.arcsinh(radius_a / size), self.sign * along)

    def early_end(self, product: Array) -> Array:
        """The early coordinate at which aw = product; for product = 0 on an orbit with c ≥ 0, where w comes to 0."""
        some = product != 0
        angle = np.zeros_like(product)
        angle[some] = np.sign(product[some]) * angle_of_product(np.abs(product[some]), self.c[some], self.flow)
        rest = NEGLIGIBLE / (2 - self.flow.w.order) if self.flow.w.order < 2 else -SMALLEST_LOG
        with np.errstate(divide="ignore"):
            along = np.where(some, np.log(np.sinh(np.abs(angle))), -rest)
        return np.where(self.c < 0, angle, self.sign * along)

    def early_rate(self, coordinate: Array) -> Array:
        """The time that one unit of the early coordinate takes."""
        bent = self.c < 0
        angle = np.where(bent, coordinate, np.arcsinh(np.exp(np.where(bent, 0.0, self.sign * coordinate))))
        a, w = self.early_point(coordinate)
        radius_a, radius_w = orbit(angle, self.c)
        stretches = self.flow.a.stretch(radius_a) * self.flow.w.stretch(radius_w)
        return np.asarray(2 * np.where(bent, 1.0, np.tanh(angle)) / ((1 - a * w) * stretches))

    def early_point(self, coordinate: Array) -> tuple[Array, Array]:
        """(a, w) at an early coordinate."""
        bent = self.c < 0
        angle = np.where(bent, coordinate, np.arcsinh(np.exp(np.where(bent, 0.0, self.sign * coordinate))))
        radius_a, radius_w = orbit(angle, self.c)
        return self.flow.a.weight(np.where(bent, radius_a, self.sign * radius_a)), self.flow.w.weight(radius_w)

    def late_rate(self, above: bool) -> Callable[[Array], Array]:
        """The time that one unit of −ln|1 − aw| takes, as a function of it; `above` says on which side of 1 aw is."""
        return lambda coordinate: 1 / growth(*self.late_point(coordinate, above), self.flow)

    def late_point(self, coordinate: Array, above: bool) -> tuple[Array, Array]:
        """(a, w) where |1 − aw| = exp(−coordinate)."""
        return self._point(-np.expm1(-coordinate) if not above else 1 + np.exp(-coordinate))

    def below_rate(self, coordinate: Array) -> Array:
        """The time that one unit of −ln|aw| takes on w < 0."""
        return 1 / growth(*self.below_point(coordinate), self.flow)

    def below_point(self, coordinate: Array) -> tuple[Array, Array]:
        """(a, w) on w < 0 where |aw| = exp(−coordinate)."""
        a, w = self._point(np.exp(-coordinate))
        return self.sign * a, -w

    def _point(self, product: Array) -> tuple[Array, Array]:
        radius_a, radius_w = orbit(angle_of_product(product, self.c, self.flow), self.c)
        return self.flow.a.weight(radius_a), self.flow.w.weight(radius_w)

    def duration(self, rate: "Rate", start: Array, end: Array, rtol: float = EXACT) -> Array:
        """The time from one coordinate of a stage to another; `rate` is that of the stage, such as `early`."""
        if self.flow.a.smooth or rate is not early:
            return self._integral(rate, start, end, rtol)
        crossing = np.where(self.c < 0, np.minimum(np.maximum(start, 0.0), end), end)  # where a = 0
        return self._integral(rate, start, crossing, rtol) + self._integral(rate, crossing, end, rtol)

    def _integral(self, rate: "Rate", start: Array, end: Array, rtol: float) -> Array:
        def integrand(x: Array, rows: NDArray[np.intp]) -> Array:
            shape = x.shape
            spread = np.repeat(rows, shape[1])
            return rate(Clock(self.flow, self.c[spread], self.sign[spread]))(x.ravel()).reshape(shape)

        return integrate(integrand, start, end, rtol)[0]

    def coordinate_at(self, rate: "Rate", start: Array, end: Array, time: Array) -> Array:
        """The coordinate in [start, end] that is reached from start after a time > 0; the end where it is longer."""

        def late_by(x: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
            # From the last point on, since the way there is short. The logarithm of a duration is close to linear where
            # the duration grows exponentially.
            here = Clock(self.flow, part.c[rows], part.sign[rows])
            since[rows] += here.duration(rate, reached[rows], x)
            reached[rows] = x
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.log(since[rows] / time[rows]), rate(here)(x) / since[rows]

        at = end.copy()
        to_end = self.duration(rate, start, end, rtol=0.01)
        near = np.abs(to_end - time) <= 0.1 * time
        to_end[near] = self[near].duration(rate, start[near], end[near])
        some = to_end > time
        part, begin, stop, time = self[some], start[some], end[some], time[some]
        reached, since = begin.copy(), np.zeros_like(begin)
        first = begin + np.minimum(1.0, (stop - begin) / 2)
        at[some] = increasing_root(late_by, begin, stop, first, floor=1.0, noise=3e-13, enough=1e-9)
        return at


Rate = Callable[[Clock], Callable[[Array], Array]]


def early(clock: Clock) -> Callable[[Array], Array]:
    """The rate of the early stage: the time that one unit of its coordinate takes, as a function of it."""
    return clock.early_rate


def late_under(clock: Clock) -> Callable[[Array], Array]:
    """The rate of the late stage where aw < 1."""
    return clock.late_rate(above=False)


def late_over(clock: Clock) -> Callable[[Array], Array]:
    """The rate of the late stage where aw > 1."""
    return clock.late_rate(above=True)


def below(clock: Clock) -> Callable[[Array], Array]:
    """The rate of the stage w < 0."""
    return clock.below_rate
