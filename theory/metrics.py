"""Charts that are given by their metric g: at any rate, at unit speed, HAM's, sign descent's, and your own.

The flow of a weight, dθ/dt = −g(θ) ∂L/∂θ, asks for g alone. A latent coordinate u may exist, and is not used.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from commons import number
from theory.arrays import Array
from theory.charts import Chart, Product, parameters_of

if TYPE_CHECKING:
    import sympy as sp

SERIES = 12  # terms of artanh(z) for z ≤ ⅕, of which the next one is below rounding


class MetricChart(Chart):
    """A weight that moves by dθ/dt = −g(θ) ∂L/∂θ, with g(θ) even and positive away from 0.

    A subclass gives `metric_expression`; energy, radius and their inverses follow, by SymPy or by quadrature.
    """

    @abstractmethod
    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        """g(θ) as a SymPy expression in θ."""

    def chart(self, u: "sp.Expr") -> "sp.Expr":
        return u

    def speed(self, u: "sp.Expr") -> "sp.Expr":
        return self.metric_expression(u)

    def describe(self) -> dict[str, Any]:
        import sympy as sp

        metric = str(self.metric_expression(sp.Symbol("theta", real=True)))
        return {"name": type(self).__name__, "metric": metric, **parameters_of(self)}

    def formula(self, weight: str) -> str:
        import sympy as sp

        return f"g({weight}) = {self.metric_expression(sp.Symbol(weight, real=True))}".replace("**", "^")


@dataclass(frozen=True)
class Scaled(Chart):
    """A chart `inner` whose flow runs at a learning rate of its own: metric rate·g and energy E/rate."""

    inner: Chart
    rate: float

    def __post_init__(self) -> None:
        number("rate", self.rate, above=0)

    @property
    def exactness(self) -> str:
        return self.inner.exactness

    @property
    def order(self) -> float:
        return self.inner.order

    @property
    def smooth(self) -> bool:
        return self.inner.smooth

    @property
    def passes_zero(self) -> bool:
        return self.inner.passes_zero

    @property
    def reaches_zero(self) -> bool:
        return self.inner.reaches_zero

    def chart(self, u: "sp.Expr") -> "sp.Expr":
        return self.inner.chart(u)

    def speed(self, u: "sp.Expr") -> "sp.Expr":
        return rational(self.rate) * self.inner.speed(u)

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "rate": self.rate}

    def formula(self, weight: str) -> str:
        return f"{self.inner.formula(weight)} at rate {self.rate:g}"

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        return rational(self.rate) * self.inner.metric_expression(theta)

    def metric(self, theta: Array) -> Array:
        return self.rate * self.inner.metric(theta)

    def orbit_metric(self, theta: Array) -> Array:
        return self.rate * self.inner.orbit_metric(theta)

    def radius(self, theta: Array) -> Array:
        return np.asarray(self.inner.radius(theta) / np.sqrt(self.rate))

    def weight(self, radius: Array) -> Array:
        return self.inner.weight(radius * np.sqrt(self.rate))

    def stretch(self, radius: Array) -> Array:
        return np.asarray(self.inner.stretch(radius * np.sqrt(self.rate)) * np.sqrt(self.rate))


@dataclass(frozen=True)
class Hypentropy(MetricChart):
    """The metric of θ = m·w over its value at 0: g = √(1 + 4θ²/β²), with g(0) = 1 and E = (β/2)(√(4θ² + β²) − β).

    It is mirror descent in the hypentropy of Ghai, Hazan and Singer (2020). beta: β > 0.
    """

    beta: Annotated[float, "β > 0, the size of 2|θ| at which the geometry sets in"]
    exactness = "closed form"
    order = 1.0

    def __post_init__(self) -> None:
        number("beta", self.beta, above=0)

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return sp.sqrt(1 + 4 * theta**2 / rational(self.beta) ** 2)

    def metric(self, theta: Array) -> Array:
        return np.asarray(np.hypot(1.0, 2 * theta / self.beta))

    def radius(self, theta: Array) -> Array:
        return np.asarray(theta / np.sqrt(0.5 + np.hypot(0.5, theta / self.beta)))

    def weight(self, radius: Array) -> Array:
        return radius * self.stretch(radius)

    def stretch(self, radius: Array) -> Array:
        return np.asarray(np.hypot(1.0, radius / self.beta))


@dataclass(frozen=True)
class Hyperbolic(MetricChart):
    """The metric of HAM (arXiv 2506.02630), g = 1 + α|θ|, with E = (2/α)(|θ| − ln(1 + α|θ|)/α).

    alpha: α ≥ 0; with 0 it is plain.
    """

    alpha: float
    exactness = "closed form"
    order = 1.0

    def __post_init__(self) -> None:
        number("alpha", self.alpha, at_least=0)

    @property
    def smooth(self) -> bool:
        return self.alpha == 0

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return 1 + rational(self.alpha) * sp.Abs(theta)

    def metric(self, theta: Array) -> Array:
        return 1 + self.alpha * np.abs(theta)

    def radius(self, theta: Array) -> Array:
        return np.asarray(theta * np.sqrt(2 * _deficit(self.alpha * np.abs(theta))))

    def weight(self, radius: Array) -> Array:
        return radius * self.stretch(radius)

    def stretch(self, radius: Array) -> Array:
        # With x = α|θ| and r = α|ρ| this is 1/√(2q(x)) at the root of x√(2q(x)) = r, from a start within 3 % of it.
        r = self.alpha * np.abs(radius)
        x = np.where(r < 2, r * (1 + r * (1 / 3 + r / 36)), r * r / 2 + np.log1p(r * (1 + r / 2)))
        for _ in range(3):
            root = np.sqrt(2 * _deficit(x))
            x = x - (x * root - r) * (1 + x) * root
        return np.asarray(1 / np.sqrt(2 * _deficit(x)))


@dataclass(frozen=True)
class SignIdentity(MetricChart):
    """A weight that steps by −sign(∇L)|∇L|^{q−1} itself: g = 1, and E = |θ|^q takes the place of θ²."""

    q: float
    exactness = "closed form"
    order = 1.0

    @property
    def reaches_zero(self) -> bool:
        return self.q < 2

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        return theta**0

    def metric(self, theta: Array) -> Array:
        return np.ones_like(theta)

    def orbit_metric(self, theta: Array) -> Array:
        return np.asarray(2 / self.q * np.abs(theta) ** (2 - self.q))

    def radius(self, theta: Array) -> Array:
        return np.asarray(np.copysign(np.abs(theta) ** (self.q / 2), theta))

    def weight(self, radius: Array) -> Array:
        return np.asarray(np.copysign(np.abs(radius) ** (2 / self.q), radius))

    def stretch(self, radius: Array) -> Array:
        return np.asarray(np.abs(radius) ** (2 / self.q - 1))


@dataclass(frozen=True)
class SignProduct(MetricChart):
    """θ = m·w whose factors step by −sign(∇L)|∇L|^{q−1}, which keeps |m|^q − |w|^q = λ > 0.

    The speed is g = |m|^q + |w|^q = √(4|θ|^q + λ²), and E = ½(√(4|θ|^q + λ²) − λ) = |w|^q.
    """

    lam: float
    q: float
    exactness = "closed form"
    order = 1.0

    def __post_init__(self) -> None:
        number("lambda", self.lam, above=0)

    @property
    def reaches_zero(self) -> bool:
        return self.q < 2

    @property
    def _product(self) -> Product:
        """The chart of |θ|^{q/2}, which has this radius."""
        return Product(self.lam)

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        import sympy as sp

        return sp.sqrt(4 * sp.Abs(theta) ** rational(self.q) + rational(self.lam) ** 2)

    def metric(self, theta: Array) -> Array:
        return self._product.metric(np.abs(theta) ** (self.q / 2))

    def orbit_metric(self, theta: Array) -> Array:
        return np.asarray(2 / self.q * np.abs(theta) ** (2 - self.q) * self.metric(theta))

    def radius(self, theta: Array) -> Array:
        return np.asarray(np.copysign(self._product.radius(np.abs(theta) ** (self.q / 2)), theta))

    def weight(self, radius: Array) -> Array:
        return np.asarray(np.copysign(self._product.weight(np.abs(radius)) ** (2 / self.q), radius))

    def stretch(self, radius: Array) -> Array:
        size = np.abs(radius)
        return np.asarray(size ** (2 / self.q - 1) * self._product.stretch(size) ** (2 / self.q))

    def potential(self, theta: Array) -> Array:
        return self.metric(theta) / 2


def rational(value: float) -> "sp.Rational":
    """The number as SymPy's rational, which prints as it was written."""
    import sympy as sp

    return sp.nsimplify(value, rational=True)


def _deficit(x: Array) -> Array:
    """(x − ln(1 + x))/x² for x ≥ 0, ½ at 0, without cancellation: ln(1 + x) = 2 artanh(z), z = x/(2 + x)."""
    slope = 1 / (2 + x)
    z = np.minimum(x, 0.5) / (2 + np.minimum(x, 0.5))
    tail = np.zeros_like(x)
    for k in reversed(range(SERIES)):
        tail = tail * z * z + 1 / (2 * k + 3)
    with np.errstate(divide="ignore", invalid="ignore"):
        large = (1 - np.log1p(x) / x) / x
    return np.where(x > 0.5, large, slope - 2 * slope * slope * z * tail)
