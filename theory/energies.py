"""The difference of the energies of w and of a, with an exact sign where both charts allow it."""

import math
import sys
from fractions import Fraction

import numpy as np

from theory.arrays import Array
from theory.charts import Chart, Identity, Product
from theory.flows import Flow
from theory.metrics import Hypentropy, Scaled

DIGITS = 256  # binary digits of a square root beyond those of its integer part


def has_exact_energies(flow: Flow) -> bool:
    """Whether both charts are `Identity`, `Product` or `Hypentropy`, at any rate: 2E = √A − B with rational A and B."""
    return all(_is_exact(chart) for chart in (flow.a, flow.w))


def _is_exact(chart: Chart) -> bool:
    return _is_exact(chart.inner) if isinstance(chart, Scaled) else type(chart) in (Identity, Product, Hypentropy)


def exact_excess(a: Array, w: Array, flow: Flow) -> Array:
    """E(w) − E(a) of a flow with exact energies, one start at a time: to rounding, with a sign decided in rationals.

    So neither a β below the rounding of θ nor a start that lies exactly on the separatrix is missed.

    a, w: (N,) float64, finite.   Returns (N,) float64.
    """
    return np.array([_excess(x, y, flow) for x, y in zip(a.tolist(), w.tolist(), strict=True)], dtype=np.float64)


def _excess(a: float, w: float, flow: Flow) -> float:
    (root_a, beta_a), (root_w, beta_w) = _rational(flow.a, a), _rational(flow.w, w)
    # Twice an energy is √A − B. The sign is that of √A_w + β_a against √A_a + β_w, and so of their squares.
    sign = _sign(4 * beta_a**2 * root_w, 4 * beta_w**2 * root_a, root_a + beta_w**2 - root_w - beta_a**2)
    try:
        size = abs(float(_root(root_w) - _root(root_a) - beta_w + beta_a)) / 2
    except OverflowError:
        size = math.inf
    return sign * max(size, sys.float_info.min)


def _rational(chart: Chart, theta: float) -> tuple[Fraction, Fraction]:
    """(A, B) with 2E(θ) = √A − B."""
    if isinstance(chart, Scaled):
        root, rest = _rational(chart.inner, theta)
        return root / Fraction(chart.rate) ** 2, rest / Fraction(chart.rate)
    if isinstance(chart, Hypentropy):
        square = Fraction(chart.beta) ** 2
        return square * (4 * Fraction(theta) ** 2 + square), square
    if isinstance(chart, Product):
        beta = Fraction(chart.beta)
        return 4 * Fraction(theta) ** 2 + beta**2, beta
    return 4 * Fraction(theta) ** 4, Fraction(0)


def _root(value: Fraction) -> Fraction:
    """The square root, to more digits than a difference of two of them can lose in float64."""
    scale = value.denominator << DIGITS
    return Fraction(math.isqrt(value.numerator * scale << DIGITS), scale)


def _sign(left: Fraction, right: Fraction, rest: Fraction) -> int:
    """The sign of √left − √right − rest."""
    gap, side = _compare(left, right), _compare(rest, Fraction(0))
    if gap != side or gap == 0:
        return gap or -side
    # √left − √right and the rest have one sign, and their squares decide.
    twice = left + right - rest**2  # against 2√(left·right)
    return gap * (-1 if twice < 0 else _compare(twice**2, 4 * left * right))


def _compare(first: Fraction, second: Fraction) -> int:
    return (first > second) - (first < second)
