"""When the flow of one neuron (d = 1) is where: time to a loss, flip time and trajectory, exact or by quadrature.

The standard flow is explicit in tanh. Every other flow is one integral along its orbit, without a time step.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import InputError, finite, refuse
from theory import closed_form
from theory.arrays import Array
from theory.clock import NEGLIGIBLE, SMALLEST_LOG, Clock, below, early, late_over, late_under
from theory.flows import Flow, Standard
from theory.invariants import growth, limit_point, recovers

SADDLE = 1e-60  # ρ_a²/ρ_w² − 1 that stands for 0, far below rounding
LATEST = 45.0  # −ln|1 − aw| at which aw is 1 to every digit


def time_to_loss(a0: ArrayLike, w0: ArrayLike, flow: Flow, loss: ArrayLike) -> Array:
    """The flow time until the population loss has fallen to `loss`: 0 if it starts there, inf if it never does.

    a0, w0, loss: finite arrays that broadcast.   Returns float64, by closed form for the standard flow and by
    quadrature, to about 1e-12 relative, for every other.

    Raises:
        InputError: a value is not finite, or the chart of a is not regular at 0 (`Chart.order` is not 1).
    """
    shape, a, w, target = _rows(flow, a0=a0, w0=w0, loss=loss)
    taught = recovers(a, w, flow)
    time = np.where(_loss(a, w) <= target, 0.0, np.inf)
    going = (time > 0) & (target > 0)
    lower = going & (w < 0) & (a != 0)
    time[lower] = _time_below(a[lower], w[lower], flow, target[lower])
    upper = going & (w >= 0) & (taught | (w > 0))
    time[upper] = _time_above(a[upper], w[upper], flow, target[upper], taught[upper])
    return time.reshape(shape)


def flip_time(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> Array:
    """The flow time at which a sign changes, inf if none ever does.

    It is the sign of a from a0 < 0 < w0, or that of w if its chart reaches zero. Both change when aw = 0, where the
    loss is ¼.

    a0, w0: finite arrays that broadcast.   Returns float64.

    Raises:
        InputError: a value is not finite.
    """
    a, w = finite("a0", a0), finite("w0", w0)
    flips = recovers(a, w, flow) & (a * w < 0)
    return np.where(flips, time_to_loss(a, w, flow, 0.25), np.inf)


def trajectory(t: ArrayLike, a0: ArrayLike, w0: ArrayLike, flow: Flow) -> tuple[Array, Array]:
    """(a, w) at flow times t ≥ 0 from (a0, w0), sliding on w = 0 included.

    t, a0, w0: finite arrays that broadcast.   Returns two float64 arrays.

    Raises:
        InputError: as `time_to_loss`, or a negative time.
    """
    shape, time, a, w = _rows(flow, t=t, a0=a0, w0=w0)
    if np.any(time < 0):
        raise InputError(f"t={float(time.min())!r} is not a flow time ≥ 0")
    taught = recovers(a, w, flow)
    a, w = a.copy(), w.copy()
    upper, lower = (time > 0) & ((w > 0) | ((w == 0) & taught)), (time > 0) & (w < 0) & (a != 0)
    a[upper], w[upper] = _above_at(time[upper], a[upper], w[upper], flow, taught[upper])
    a[lower], w[lower] = _below_at(time[lower], a[lower], w[lower], flow, taught[lower])
    return a.reshape(shape), w.reshape(shape)


def _rows(flow: Flow, **values: ArrayLike) -> tuple[tuple[int, ...], Array, Array, Array]:
    """The common shape of three arguments and each of them as a flat array."""
    if flow.exponent != 2:
        refuse("flow", flow, "a gradient flow: the times of sign descent are not stated here")
    if flow.a.order != 1:
        raise InputError(f"flow={flow!r} has a chart of a that is not regular at 0: its times are not one integral")
    first, second, third = np.broadcast_arrays(*(finite(name, value) for name, value in values.items()))
    return first.shape, first.ravel(), second.ravel(), third.ravel()


def _loss(a: Array, w: Array) -> Array:
    return np.where(w > 0, (a * w - 1) ** 2, (a * w) ** 2 + 1) / 4


def _clock(a: Array, w: Array, flow: Flow) -> tuple[Clock, Array, Array]:
    radius_a, radius_w = flow.a.radius(a), flow.w.radius(w)
    c = (radius_a - radius_w) * (radius_a + radius_w)
    c = np.where(c == 0, SADDLE * radius_w**2, c)  # so that the orbit has an angle
    return Clock(flow, c, np.where(a < 0, -1.0, 1.0)), radius_a, radius_w


def _time_above(a: Array, w: Array, flow: Flow, loss: Array, taught: NDArray[np.bool_]) -> Array:
    """Time on w ≥ 0 until the loss has fallen to `loss`."""
    clock, radius_a, radius_w = _clock(a, w, flow)
    start, over = a * w, a * w > 1
    goal = np.where(over, 1 + 2 * np.sqrt(loss), 1 - 2 * np.sqrt(loss))
    time = np.where(taught | (goal < 0) | ((goal == 0) & (radius_a + radius_w < 0) & (flow.w.order < 2)), 0.0, np.inf)
    if isinstance(flow, Standard):
        return np.where(time == 0, closed_form.time_above(a, w, goal, 2 * np.sqrt(loss)), time)
    soon = (time == 0) & (start < 0.5)
    part, begin = clock[soon], clock[soon].early_start(radius_a[soon], radius_w[soon])
    time[soon] = part.duration(early, begin, part.early_end(np.minimum(goal, 0.5)[soon]))
    end = -np.log(2 * np.sqrt(loss))
    for rows, rate in (((goal > 0.5) & ~over, late_under), (over, late_over)):
        late = rows & taught
        begin = -np.log(np.abs(1 - np.maximum(start[late], 0.5)))
        time[late] += clock[late].duration(rate, begin, end[late])
    return time


def _time_below(a: Array, w: Array, flow: Flow, loss: Array) -> Array:
    """Time from w < 0 until the loss has fallen to `loss`; where w crosses 0 this goes on above it."""
    clock = _clock(a, w, flow)[0]
    crosses = (np.abs(flow.a.radius(a)) > np.abs(flow.w.radius(w))) & flow.w.reaches_zero
    goal = np.sqrt(np.maximum(4 * loss - 1, 0.0))
    if isinstance(flow, Standard):
        return closed_form.time_below(a, w, goal)
    begin = -np.log(np.abs(a * w))
    with np.errstate(divide="ignore"):
        end = np.where(goal > 0, -np.log(goal), begin + _to_zero(flow))
    reaches = (goal > 0) | crosses
    time = np.full(a.shape, np.inf)
    time[reaches] = clock[reaches].duration(below, begin[reaches], end[reaches])
    onward, ends = loss < 0.25, recovers(a, w, flow)
    time[onward & ~ends] = np.inf
    beyond = onward & ends
    on_zero = flow.a.weight(np.sqrt(clock.c[beyond]))
    time[beyond] += _time_above(on_zero, np.zeros(on_zero.shape), flow, loss[beyond], ends[beyond])
    return time


def _to_zero(flow: Flow) -> float:
    """How far −ln|aw| runs before the rest of the way to w = 0 takes no more time, for a chart that reaches it."""
    return NEGLIGIBLE / (2 / flow.w.order - 2) if flow.w.reaches_zero else np.inf


def _above_at(time: Array, a: Array, w: Array, flow: Flow, taught: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(a, w) after a time, from w ≥ 0."""
    if isinstance(flow, Standard):
        return closed_form.point_above(time, a, w)
    clock, radius_a, radius_w = _clock(a, w, flow)
    end_a, end_w = limit_point(a, w, flow)
    left, start, over = time.copy(), a * w, a * w > 1
    soon = start < 0.5
    part, begin = clock[soon], clock[soon].early_start(radius_a[soon], radius_w[soon])
    end = part.early_end(np.where(taught, 0.5, 0.0)[soon])
    left[soon] -= part.duration(early, begin, end)
    moving = soon & (left < 0)
    part = clock[moving]
    at = part.coordinate_at(early, begin[moving[soon]], end[moving[soon]], time[moving])
    end_a[moving], end_w[moving] = part.early_point(at)
    for rows, rate, above in ((~over, late_under, False), (over, late_over, True)):
        late = rows & taught & (left > 0)
        part = clock[late]
        begin = -np.log(np.abs(1 - np.maximum(start[late], 0.5)))
        at = part.coordinate_at(rate, begin, np.maximum(begin, LATEST), left[late])
        end_a[late], end_w[late] = part.late_point(at, above)
    return end_a, end_w


def _below_at(time: Array, a: Array, w: Array, flow: Flow, taught: NDArray[np.bool_]) -> tuple[Array, Array]:
    """(a, w) after a time, from w < 0 and a ≠ 0."""
    if isinstance(flow, Standard):
        return closed_form.point_below(time, a, w)
    clock = _clock(a, w, flow)[0]
    end_a, end_w = limit_point(a, w, flow)
    crossing = _time_below(a, w, flow, np.full(a.shape, 0.25))
    moving = time < crossing
    part, begin = clock[moving], -np.log(np.abs(a * w))[moving]
    far = begin + min(_to_zero(flow), -SMALLEST_LOG)
    # A metric that grows with |θ| only slows down as both weights shrink.
    fastest = growth(a, w, flow)[moving] * time[moving] if flow.w.order >= 1 else np.inf
    end = np.minimum(far, begin + fastest)
    at = part.coordinate_at(below, begin, end, time[moving])
    end_a[moving], end_w[moving] = part.below_point(at)
    onward = ~moving & taught
    on_zero = flow.a.weight(np.sqrt(clock.c[onward]))
    left = (time - crossing)[onward]
    end_a[onward], end_w[onward] = _above_at(left, on_zero, np.zeros(on_zero.shape), flow, taught[onward])
    return end_a, end_w
