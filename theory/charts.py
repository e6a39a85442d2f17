"""How a weight θ is written as φ(u): the charts of the standard, the Sign-In and the power flow.

A chart knows one weight; it never sees a loss. SymPy is imported only when an expression is asked for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from commons import number
from theory.arrays import Array
from theory.redistribution import metric

if TYPE_CHECKING:
    import sympy as sp

    from theory.derived import Derived


class Chart(ABC):
    """One weight θ = φ(u), φ odd and increasing; under gradient flow in u, dθ = −g(θ)∇L dt, g = φ′(u)².

    Only `chart` must be given. The energy E(θ) = 2∫₀^θ s/g(s) ds of each layer is what the flow conserves the
    difference of, and the radius ρ(θ) = sign(θ)√E is the coordinate in which the basin of every flow is the same:
    w > 0 and ρ_w + ρ_a > 0. Both follow from the chart, by SymPy where it integrates, else by quadrature to 1e-12.
    """

    @abstractmethod
    def chart(self, u: "sp.Expr") -> "sp.Expr":
        """φ(u) as a SymPy expression."""

    def speed(self, u: "sp.Expr") -> "sp.Expr":
        """g at θ = φ(u): the squared slope of φ, or the squared norm of its gradient where u labels an orbit."""
        return self.chart(u).diff(u) ** 2

    @property
    def _derived(self) -> "Derived":
        from theory.derived import derive

        return derive(self)

    @property
    def source(self) -> str:
        """How energy and radius are obtained: "closed form", "symbolic" (SymPy integrates) or "quadrature"."""
        return self._derived.source

    @property
    def order(self) -> float:
        """The e of θ ~ ±|u|^e near 0: 1 for a regular chart. It decides what happens at θ = 0."""
        return self._derived.order

    @property
    def passes_zero(self) -> bool:
        """Whether a weight that the loss pushes towards zero goes through it: not where φ′(0) = 0."""
        return self.order <= 1

    @property
    def reaches_zero(self) -> bool:
        """Whether |θ| falls to 0 in finite time under dθ = −g(θ)·θ dt: never for a C¹ chart."""
        return self.order < 1

    def metric_expression(self, theta: "sp.Expr") -> "sp.Expr":
        """g(θ) as a SymPy expression in θ; InputError where SymPy cannot invert the chart."""
        return self._derived.metric_expression(theta)

    def metric(self, theta: Array) -> Array:
        """g(θ), elementwise."""
        return self._derived.metric(theta)

    def radius(self, theta: Array) -> Array:
        """ρ(θ) = sign(θ)√E(θ), elementwise."""
        return self._derived.radius(theta)

    def weight(self, radius: Array) -> Array:
        """θ of a radius, the inverse of `radius`."""
        return self._derived.weight(radius)

    def stretch(self, radius: Array) -> Array:
        """θ/ρ at a radius, continued to ρ = 0."""
        return self._derived.stretch(radius)

    def potential(self, theta: Array) -> Array:
        """E(θ) up to the constant in which the invariant is customarily written."""
        return self.radius(theta) ** 2


@dataclass(frozen=True)
class Identity(Chart):
    """θ = u: g = 1, E = θ²."""

    source = "closed form"
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
    """θ = m·w on the orbit m² − w² = β > 0, m > 0: g = m² + w² = √(4θ² + β²), E = ½(√(4θ² + β²) − β) = w².

    The label u is the orbit's hyperbolic angle, m = √β cosh u and w = √β sinh u; the radius is the factor w itself.
    """

    beta: float
    source = "closed form"
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
    """θ = sign(u)|u|^p, p > 0: g = p²|θ|^{2 − 2/p}, E = |θ|^{2/p}/p. Continuous for all p, C¹ only for p ≥ 1."""

    p: float
    source = "closed form"

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
