"""The charts θ = φ(u) in which a weight can be written: the identity, the product m·w, the signed power, or your own.

A chart knows one weight and no loss. SymPy is imported only when an expression is asked for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from commons import number
from theory.arrays import Array
from theory.redistribution import metric

if TYPE_CHECKING:
    import sympy as sp

    from theory.derived import Derived


class Chart(ABC):
    """A weight θ written as φ(u), where φ is odd and increasing.

    Gradient flow in u moves the weight by dθ/dt = −g(θ) ∂L/∂θ with the metric g = φ′(u)². A subclass gives `chart`,
    and the rest follows; a subclass of `theory.MetricChart` gives g(θ) instead, and needs no u:

    - The energy is E(θ) = 2∫₀^θ s/g(s) ds. The flow of a neuron conserves E(a) − E(w), each in the chart of its layer.
    - The radius is ρ(θ) = sign(θ)√E(θ). Seen in radii the basin of every flow is the same: w > 0 and ρ(w) + ρ(a) > 0.

    SymPy integrates the energy where it can; otherwise quadrature finds it to 1e-12, and `exactness` says which.
    """

    @abstractmethod
    def chart(self, u: "sp.Expr") -> "sp.Expr":
        """φ(u) as a SymPy expression."""

    def speed(self, u: "sp.Expr") -> "sp.Expr":
        """g at θ = φ(u) as a SymPy expression: φ′(u)², unless a subclass labels its orbits by u in another way."""
        return self.chart(u).diff(u) ** 2

    @property
    def _derived(self) -> "Derived":
        return _derive(self)

    @property
    def exactness(self) -> str:
        """How energy and radius are found: "closed form", "symbolic" (SymPy integrates them) or "quadrature"."""
        return self._derived.exactness

    @property
    def order(self) -> float:
        """The exponent e of θ ~ ±|u|^e near 0, which is 1 for a regular chart. It decides what happens at θ = 0."""
        return self._derived.order

    @property
    def smooth(self) -> bool:
        """Whether g is smooth at θ = 0; where it is not, quadrature stops there and goes on."""
        return True

    @property
    def passes_zero(self) -> bool:
        """Whether a weight that the loss pushes towards zero goes through it. It does not where φ′(0) = 0."""
        return self.order <= 1

    @property
    def reaches_zero(self) -> bool:
        """Whether |θ| falls to 0 in finite time under dθ/dt = −g(θ)·θ. It never does in a C¹ chart."""
        return self.order < 1

    def describe(self) -> dict[str, Any]:
        """The chart in plain values for the settings of a saved result: its name, φ(u) as text, its parameters."""
        import sympy as sp

        phi = str(self.chart(sp.Symbol("u", real=True)))
        return {"name": type(self).__name__, "phi": phi, **parameters_of(self)}

    def formula(self, weight: str) -> str:
        """The chart as a formula for a weight of that name, for legends: "w = u^3 + u"."""
        return f"{weight} = {self.describe()['phi']}".replace("**", "^")

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        """g(θ) as a SymPy expression in θ.

        Raises:
            InputError: SymPy cannot invert the chart.
        """
        return self._derived.metric_expression(theta)

    def metric(self, theta: Array) -> Array:
        """g(θ), elementwise."""
        return self._derived.metric(theta)

    def orbit_metric(self, theta: Array) -> Array:
        """2θ/E′(θ), elementwise, which is g(θ) for gradient flow: the metric that has these orbits."""
        return self.metric(theta)

    def radius(self, theta: Array) -> Array:
        """ρ(θ) = sign(θ)√E(θ), elementwise."""
        return self._derived.radius(theta)

    def weight(self, radius: Array) -> Array:
        """The θ that has a radius: the inverse of `radius`."""
        return self._derived.weight(radius)

    def stretch(self, radius: Array) -> Array:
        """θ/ρ at a radius, with its limit at ρ = 0."""
        return self._derived.stretch(radius)

    def potential(self, theta: Array) -> Array:
        """E(θ), plus the constant that is customary in the invariant of the flow."""
        return self.radius(theta) ** 2


@lru_cache(maxsize=64)
def _derive(chart: Chart) -> "Derived":
    """What follows from the expressions of a chart, worked out once for charts that are equal."""
    from theory.derived import Derived, U

    return Derived(chart.chart(U), chart.speed(U))


def parameters_of(value: object) -> dict[str, Any]:
    """The fields of a dataclass that are numbers or texts, in their order; other fields as text; no charts."""
    if not is_dataclass(value):
        return {}
    given = {field.name: getattr(value, field.name) for field in fields(value)}
    plain = (bool, int, float, str)
    return {k: v if isinstance(v, plain) else repr(v) for k, v in given.items() if not isinstance(v, Chart)}


@dataclass(frozen=True)
class Identity(Chart):
    """θ = u, with metric g = 1 and energy E = θ²."""

    exactness = "closed form"
    order = 1.0

    def chart(self, u: "sp.Expr") -> "sp.Expr":
        return u

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        return theta**0

    def metric(self, theta: Array) -> Array:
        return np.ones_like(theta)

    def radius(self, theta: Array) -> Array:
        return theta

    def weight(self, radius: Array) -> Array:
        return radius

    def stretch(self, radius: Array) -> Array:
        return np.ones_like(radius)


@dataclass(frozen=True)
class Product(Chart):
    """θ = m·w, where gradient flow in m and w keeps m² − w² = β > 0, the argument beta, and m > 0.

    The metric is g = m² + w² = √(4θ² + β²) and the energy E = ½(√(4θ² + β²) − β) = w², so the radius is the factor w
    itself. The coordinate u is the hyperbolic angle on the orbit: m = √β cosh u and w = √β sinh u.
    """

    beta: float
    exactness = "closed form"
    order = 1.0

    def __post_init__(self) -> None:
        number("beta", self.beta, above=0)

    def chart(self, u: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return sp.nsimplify(self.beta) * sp.sinh(2 * u) / 2

    def speed(self, u: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return sp.nsimplify(self.beta) * sp.cosh(2 * u)

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return sp.sqrt(4 * theta**2 + sp.nsimplify(self.beta) ** 2)

    def metric(self, theta: Array) -> Array:
        return np.asarray(metric(theta, self.beta))

    def radius(self, theta: Array) -> Array:
        return theta / np.sqrt(np.hypot(theta, self.beta / 2) + self.beta / 2)

    def weight(self, radius: Array) -> Array:
        return radius * self.stretch(radius)

    def stretch(self, radius: Array) -> Array:
        return np.asarray(np.hypot(radius, np.sqrt(self.beta)))

    def potential(self, theta: Array) -> Array:
        return np.asarray(metric(theta, self.beta) / 2)


@dataclass(frozen=True)
class SignedPower(Chart):
    """θ = sign(u)|u|^p with p > 0, metric g = p²|θ|^{2 − 2/p} and energy E = |θ|^{2/p}/p.

    The chart is continuous for every p, but C¹ only for p ≥ 1.
    """

    p: float
    exactness = "closed form"

    def __post_init__(self) -> None:
        number("p", self.p, above=0)

    @property
    def order(self) -> float:
        return self.p

    def chart(self, u: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return u * sp.Abs(u) ** (sp.nsimplify(self.p) - 1)

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        p = sp.nsimplify(self.p)
        return p**2 * sp.Abs(theta) ** (2 - 2 / p)

    def metric(self, theta: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(self.p**2 * np.abs(theta) ** (2 - 2 / self.p))

    def radius(self, theta: Array) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(np.copysign(np.abs(theta) ** (1 / self.p) / np.sqrt(self.p), theta))

    def weight(self, radius: Array) -> Array:
        return np.asarray(np.copysign((np.sqrt(self.p) * np.abs(radius)) ** self.p, radius))

    def stretch(self, radius: Array) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(self.p ** (self.p / 2) * np.abs(radius) ** (self.p - 1))
