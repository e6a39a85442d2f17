"""Which starts recover the teacher relu(x₁) when the neuron has d ≥ 2 inputs, exactly and without integrating."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from commons import finite, refuse
from theory.arrays import Array
from theory.charts import Chart, Identity, Product
from theory.flows import Flow

PROBES = np.geomspace(1e-3, 1e2, 61)  # where a metric of one's own is compared with its neighbours


def invariant_nd(a: ArrayLike, w: ArrayLike, flow: Flow) -> Array:
    """E(a) − ΣE(w_i) in the units of `invariant`, which the flow of a neuron with d inputs conserves.

    a: (...,), w: (..., d), finite.   Returns float64 (...,).
    """
    _check(flow)
    a, w = _shaped(a, w)
    return np.asarray(flow.unit * (flow.a.radius(a) ** 2 - (flow.w.radius(w) ** 2).sum(-1)))


def recovers_nd(a0: ArrayLike, w0: ArrayLike, flow: Flow) -> NDArray[np.bool_]:
    """Whether the population flow with d ≥ 2 inputs recovers the teacher relu(x₁) from (a0, w0).

    It does so exactly where w0 is neither 0 nor a negative multiple of e₁, and a0 ≥ 0 or E(a0) < ΣE(w0_i). That is the
    theorem "many inputs", which asks for metrics that do not fall as |θ| grows, such as those of Standard and SignIn.

    a0: (...,), w0: (..., d), finite.   Returns bool (...,).

    Raises:
        InputError: shapes that do not fit, or a chart whose metric falls with |θ| or is not regular at 0.
    """
    _check(flow)
    for chart in (flow.a, flow.w):
        if not _rises(chart):
            refuse("flow", flow, "a flow whose metrics are regular at 0 and do not fall as |θ| grows")
    a, w = _shaped(a0, w0)
    radii = np.abs(flow.w.radius(w))
    largest = radii.max(-1, initial=0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = largest * np.sqrt(np.square(radii / largest[..., None]).sum(-1))  # squares of radii could overflow
    opposite = (w[..., 1:] == 0).all(-1) & (w[..., 0] <= 0)
    return np.asarray(~opposite & ((a >= 0) | (np.abs(flow.a.radius(a)) < size)))


def _check(flow: Flow) -> None:
    """InputError for sign descent, which conserves nothing where d > 1."""
    if flow.exponent != 2:
        refuse("flow", flow, "a gradient flow, which sign descent is not")


def _rises(chart: Chart) -> bool:
    """Whether the metric is regular at 0 and does not fall with |θ|: known of two charts, sampled of any other."""
    if isinstance(chart, Identity | Product):
        return True
    if chart.order != 1:
        return False
    metric = chart.metric(np.concatenate([[0.0], PROBES]))
    return bool((np.diff(metric) >= -1e-9 * metric[1:]).all())


def _shaped(a: ArrayLike, w: ArrayLike) -> tuple[Array, Array]:
    a, w = finite("a", a), finite("w", w)
    if w.ndim != a.ndim + 1 or w.shape[:-1] != a.shape or w.shape[-1] < 2:
        refuse("w.shape", w.shape, f"{(*a.shape, 'd')} with d ≥ 2, as a has the shape {a.shape}")
    return a, w
