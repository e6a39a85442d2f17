"""How a weight θ is written as φ(u): the standard, the Sign-In and the power flow, with metric, radius and reset.

A chart knows one weight; it never sees a loss. SymPy is imported only when an expression is asked for.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from commons import number, refuse

if TYPE_CHECKING:
    import sympy as sp

    from theory.derived import Derived

Array = NDArray[np.float64]


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


class Flow(ABC):
    """The gradient flow of a neuron whose a and w (each component of it) are written in the charts `a` and `w`.

    `unit` scales invariant and margin to the form that is customary for the flow.
    """

    unit: ClassVar[float] = 1.0

    @property
    @abstractmethod
    def a(self) -> Chart: ...

    @property
    @abstractmethod
    def w(self) -> Chart: ...

    @property
    def source(self) -> str:
        """The less exact of the sources of the two charts."""
        return max(self.a.source, self.w.source, key=["closed form", "symbolic", "quadrature"].index)


@dataclass(frozen=True)
class Standard(Flow):
    """Gradient flow in a and w themselves; invariant a² − w²."""

    a = Identity()
    w = Identity()


@dataclass(frozen=True)
class SignIn(Flow):
    """a = m_a·w_a and w = m_w·w_w with m² − w² = β_a, β_w > 0; invariant √(4a² + β_a²) − √(4w² + β_w²)."""

    beta_a: float = 1.0
    beta_w: float = 1.0
    unit = 2.0

    def __post_init__(self) -> None:
        number("beta_a", self.beta_a, above=0)
        number("beta_w", self.beta_w, above=0)

    @property
    def a(self) -> Product:
        return Product(self.beta_a)

    @property
    def w(self) -> Product:
        return Product(self.beta_w)


@dataclass(frozen=True)
class Power(Flow):
    """w = sign(u)|u|^p and a as it is; invariant a² − |w|^{2/p}/p. For p < 1 the chart of w is not C¹."""

    p: float
    a = Identity()

    def __post_init__(self) -> None:
        number("p", self.p, above=0)

    @property
    def w(self) -> SignedPower:
        return SignedPower(self.p)


@dataclass(frozen=True)
class ChartFlow(Flow):
    """The flow of any two charts; a parametrization of your own is a subclass of `Chart` with one method."""

    chart_a: Chart
    chart_w: Chart

    @property
    def a(self) -> Chart:
        return self.chart_a

    @property
    def w(self) -> Chart:
        return self.chart_w


def metric(theta: Any, beta: Any, xp: ModuleType = np) -> Any:
    """√(4θ² + β²) = m² + w², the factor of ∇L under Sign-In; in the dtype of theta, without overflow.

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, ≥ 0.
    """
    theta, beta = _pair(theta, beta, xp)
    return xp.hypot(2 * theta, beta)


def reset(theta: Any, beta: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """The factors (m, w), m > 0, with m·w = θ and m² − w² = β; m·w is within one ulp of θ.

    m = √((√(4θ² + β²) + β)/2) and w = θ/m, in the dtype of theta: nothing cancels, and nothing overflows while 2θ
    does not. The other solution is (−m, −w).

    theta: array of the namespace xp (numpy or torch).   beta: number or array that broadcasts with theta, > 0.

    Raises:
        InputError: beta is not positive.
    """
    theta, beta = _pair(theta, beta, xp)
    if not bool((beta > 0).all()):
        refuse("beta", float(beta.min()), "a positive number")
    m = xp.sqrt(xp.hypot(theta, beta / 2) + beta / 2)
    return m, theta / m


def _pair(theta: Any, beta: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Theta and beta as arrays of xp in theta's floating dtype."""
    if xp is np:
        theta = np.asarray(theta)
        theta = theta if theta.dtype.kind == "f" else theta.astype(np.float64)
        return theta, np.asarray(beta, dtype=theta.dtype)
    return theta, xp.as_tensor(beta, dtype=theta.dtype, device=theta.device)
