"""What the flow of one neuron (d = 1) conserves, and what follows without integrating: basin, separatrix, limit.

In the radii (ρ_a, ρ_w) of the two charts the orbits are the hyperbolas ρ_a² − ρ_w² = c in each half-plane, whatever
the charts are.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import finite, number
from theory.arrays import Array
from theory.energies import exact_excess, has_exact_energies
from theory.flows import Flow
from theory.roots import increasing_root

CHUNK = 1 << 15  # starts whose radii fit in a core's cache
CLOSE = 16 * np.finfo(float).eps  # relative distance of two radii that rounding may have brought about
TINIEST_INVARIANT = 1e-290  # stands for c = 0, so that an orbit always has a hyperbolic angle


def invariant(a: ArrayLike, w: ArrayLike, flow: Flow) -> Array:
    """The conserved quantity of the flow: a² − w², √(4a² + β_a²) − √(4w² + β_w²), or a² − |w|^{2/p}/p.

    a, w: finite arrays that broadcast.   Returns float64.

    Raises:
        InputError: a value is not finite.
    """
    a, w = finite("a", a), finite("w", w)
    return flow.unit * (flow.a.potential(a) - flow.w.potential(w))


def margin(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> Array:
    """Signed distance of a start to the edge of the teacher's basin, in the invariant's units, without cancellation.

    Positive where the flow recovers the teacher, negative where it fails, and 0 on the edge: the stable manifold
    of the saddle (0, 0) and, unless the chart of w reaches zero, the half-line w = 0, a ≥ 0, where relu′(0) = 0
    keeps the flow.

    a0, w0: finite arrays that broadcast.   Returns float64.
    """
    a, w = _radii(a0, w0, flow)
    opposite = (a + w) * (np.abs(a) + np.abs(w))
    opposite = _decided(opposite, a, w, a0, w0, flow)
    distance = np.where(a * w < 0, opposite, np.abs(a) * a + np.abs(w) * w)
    if not flow.w.reaches_zero:
        distance = np.minimum(distance, np.abs(w) * w)
    if not flow.a.passes_zero:
        distance = np.minimum(distance, np.abs(a) * a)
    return flow.unit * distance


def recovers(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> NDArray[np.bool_]:
    """Whether gradient flow from (a0, w0) ends at the teacher, aw = 1 and w > 0: exactly where margin > 0.

    For a C¹ chart of w: w0 > 0 and ρ_w(w0) + ρ_a(a0) > 0. For the standard flow, and for equal charts, this is
    w0 > 0 and a0 + w0 > 0. A chart that reaches zero (Power(p), p < 1) drops the condition w0 > 0; one that a cannot
    pass zero in asks for a0 > 0.

    Radii are compared, not their squares, so that the largest float64 is safe. For the standard flow and Sign-In the
    answer is exact for every float64, also where β is below the rounding of θ.

    a0, w0: finite arrays that broadcast.   Returns bool.

    Raises:
        InputError: a value is not finite.
    """
    a0, w0 = finite("a0", a0), finite("w0", w0)
    if a0.shape != w0.shape or a0.size <= CHUNK:
        return _inside(a0, w0, flow)
    a_flat, w_flat, inside = a0.ravel(), w0.ravel(), np.empty(a0.size, dtype=np.bool_)
    for start in range(0, a0.size, CHUNK):
        part = slice(start, start + CHUNK)
        inside[part] = _inside(a_flat[part], w_flat[part], flow)
    return inside.reshape(a0.shape)


def fate(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> NDArray[np.str_]:
    """Where the flow from (a0, w0) ends: "recovers", "saddle" for (0, 0), or "stuck" elsewhere, at loss ¼ or above.

    a0, w0: finite arrays that broadcast.

    Raises:
        InputError: a value is not finite.
    """
    a, w = _radii(a0, w0, flow)
    gap = _decided(np.abs(w) - np.abs(a), -np.abs(a), np.abs(w), a0, w0, flow)
    return np.where(recovers(a0, w0, flow), "recovers", np.where(gap == 0, "saddle", "stuck"))


def separatrix(flow: Flow, n: int = 512, extent: float = 2.0) -> tuple[Array, Array]:
    """(a, w), each (n,) float64: the curve ρ_a + ρ_w = 0 of a flow, w > 0 > a, within [−extent, extent]².

    Where the chart of w reaches zero, its mirror image through the saddle is part of the edge of the basin as well.

    Raises:
        InputError: n is not an integer ≥ 2, or extent is not positive.
    """
    number("n", n, at_least=2, integer=True)
    number("extent", extent, above=0)
    edge = np.array([extent])
    radius = np.linspace(0.0, float(np.minimum(-flow.a.radius(-edge), flow.w.radius(edge))[0]), n)
    return flow.a.weight(-radius), flow.w.weight(radius)


def limit_point(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> tuple[Array, Array]:
    """(a, w) as t → ∞: on the teacher's hyperbola aw = 1, or where the neuron is stuck, or the saddle (0, 0).

    a0, w0: finite arrays that broadcast.   flow: any.   Returns two float64 arrays.

    Raises:
        InputError: a value is not finite.
    """
    a0, w0 = np.broadcast_arrays(finite("a0", a0), finite("w0", w0))
    a, w = _radii(a0, w0, flow)
    c = (a - w) * (a + w)
    end_a, end_w = np.sign(a) * np.sqrt(np.maximum(c, 0.0)), np.sign(w) * np.sqrt(np.maximum(-c, 0.0))
    stuck = (flow.a.weight(end_a), flow.w.weight(end_w))
    inside = recovers(a0, w0, flow)
    taught = [np.ones(a0.shape), np.ones(a0.shape)]
    if inside.any():
        angle = angle_of_product(np.ones(int(inside.sum())), c[inside], flow)
        for axis, radius, chart in zip(taught, orbit(angle, c[inside]), (flow.a, flow.w), strict=True):
            axis[inside] = chart.weight(radius)
    return np.where(inside, taught[0], stuck[0]), np.where(inside, taught[1], stuck[1])


def orbit(angle: Array, c: Array) -> tuple[Array, Array]:
    """Radii (ρ_a, ρ_w) at a hyperbolic angle of the orbit ρ_a² − ρ_w² = c in w > 0; broadcast.

    c < 0: √−c (sinh, cosh) of the angle, which has the sign of a.   c ≥ 0: √c (cosh, sinh), angle > 0, a > 0.
    """
    size = np.sqrt(np.maximum(np.abs(c), TINIEST_INVARIANT))
    cosh, sinh = size * np.cosh(angle), size * np.sinh(angle)
    return np.where(c < 0, sinh, cosh), np.where(c < 0, cosh, sinh)


def growth(a: Array, w: Array, flow: Flow) -> Array:
    """The rate ½(a²g_w + w²g_a) of the product z = aw of a gradient flow: dz/dt = (1 − z)·growth on w > 0."""
    return (a * a * flow.w.metric(w) + w * w * flow.a.metric(a)) / 2


def angle_of_product(product: Array, c: Array, flow: Flow) -> Array:
    """The angle > 0 of the orbit c at which aw equals product > 0, both positive; shapes (N,)."""

    def log_product(x: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        # In x = ln sinh(angle) the slope of ln(aw) stays between bounds, so Newton's steps are safe.
        angle = np.arcsinh(np.exp(x))
        radius_a, radius_w = orbit(angle, c[rows])
        a, w = flow.a.weight(radius_a), flow.w.weight(radius_w)
        slope = a * a * flow.w.orbit_metric(w) + w * w * flow.a.orbit_metric(a)
        slope = slope / (a * w * flow.a.stretch(radius_a) * flow.w.stretch(radius_w))
        return np.log(a) + np.log(w) - np.log(product[rows]), slope * np.tanh(angle)

    widest = np.full(c.shape, 690.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = increasing_root(log_product, -widest, widest, floor=1.0, noise=5e-15, enough=1e-9)
    return np.asarray(np.arcsinh(np.exp(x)))


def _inside(a: Array, w: Array, flow: Flow) -> NDArray[np.bool_]:
    if flow.a == flow.w:
        inside = a > -w
    else:
        radius_a, radius_w = flow.a.radius(a), flow.w.radius(w)
        inside = _decided(radius_a + radius_w, radius_a, radius_w, a, w, flow) > 0
    if not flow.w.reaches_zero:
        inside = inside & (w > 0)
    if not flow.a.passes_zero:
        inside = inside & (a > 0)
    return np.asarray(inside)


def _decided(gap: Array, radius_a: Array, radius_w: Array, a0: ArrayLike, w0: ArrayLike, flow: Flow) -> Array:
    """The gap, or E(w) − E(a) where the radii differ by so little that rounding decides and the flow knows better."""
    if not has_exact_energies(flow):
        return gap
    close = (radius_w > 0) & (np.abs(radius_a + radius_w) <= CLOSE * radius_w)
    if close.any():
        a, w = (np.broadcast_to(finite("start", x), close.shape)[close] for x in (a0, w0))
        gap = np.array(np.broadcast_to(gap, close.shape))
        gap[close] = exact_excess(a, w, flow)
    return gap


def _radii(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> tuple[Array, Array]:
    return flow.a.radius(finite("a0", a0)), flow.w.radius(finite("w0", w0))
