"""Metric, energy and radius of a chart of one's own, from its expressions θ(u) and g(u).

SymPy integrates the energy where it can; otherwise quadrature finds it to 1e-12. The charts that the package knows have
closed forms instead, in `theory.charts`.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from commons import InputError
from theory.arrays import Array
from theory.quadrature import integrate
from theory.roots import increasing_root

U = sp.Symbol("u", real=True)
TOLERANCE = 1e-12
LARGEST_LATENT = 1e150
PROBES = (-2.6, -0.3, 0.1, 2.2)
SMOOTHING = 8


class Derived:
    """What follows from the expressions θ = φ(u) and g(u) of one chart, both in the symbol `U`.

    energy: E(u) = 2∫₀^u φφ′/g as a SymPy expression, or None where SymPy cannot integrate it.
    exactness: "symbolic" or "quadrature".
    order: the e of θ ~ ±|u|^e at 0, which is 1 where φ′(0) > 0; where g is not φ′², the e of g ~ |θ|^{2 − 2/e}.

    Raises:
        InputError: φ is not 0 at u = 0, or not odd.
    """

    def __init__(self, theta: sp.Expr, speed: sp.Expr) -> None:
        self.theta, self.speed = sp.sympify(theta), sp.sympify(speed)
        if sp.limit(self.theta, U, 0) != 0:
            raise InputError(f"chart={self.theta} is not 0 at u=0")
        slope = self.theta.diff(U)
        self.order = _exponent(self.theta)
        if self.speed != slope**2:
            growth = _exponent(self.speed) / self.order
            self.order = 2 / (2 - growth) if growth < 2 else np.inf
        if sp.simplify(self.theta + self.theta.subs(U, -U)) != 0:
            raise InputError(f"chart={self.theta} is not odd in u")
        integrand = sp.simplify(2 * self.theta * slope / self.speed)
        self._theta, self._slope, self._speed, self._integrand = (
            sp.lambdify(U, expression, "numpy") for expression in (self.theta, slope, self.speed, integrand)
        )
        self.energy, self._closed_from = self._closed_form(integrand)
        self._closed = sp.lambdify(U, self.energy if self.energy is not None else U, "numpy")
        self.exactness = "quadrature" if self.energy is None else "symbolic"

    def metric_expression(self, theta: sp.Expr) -> sp.Expr:
        """g as an expression in θ; InputError where SymPy finds no inverse of φ."""
        target = sp.Dummy(real=True)
        try:
            inverses = sp.solve(self.theta - target, U)
        except NotImplementedError:
            inverses = []
        for inverse in inverses:
            latents = [complex(inverse.subs(target, point).evalf(30)) for point in PROBES]
            if all(abs(u.imag) + abs(self._theta(u) - x) < TOLERANCE for u, x in zip(latents, PROBES, strict=True)):
                return sp.simplify(self.speed.subs(U, inverse).rewrite(sp.exp)).subs(target, theta)
        raise InputError(f"chart={self.theta} has no inverse that SymPy can write; use `metric` on numbers")

    def metric(self, theta: Array) -> Array:
        """g(θ), elementwise."""
        return self._value(self._speed, self.latent(theta))

    def radius(self, theta: Array) -> Array:
        """ρ(θ) = sign(θ)√E(θ), elementwise."""
        return self._radius(self.latent(theta))

    def weight(self, radius: Array) -> Array:
        """The θ that has a radius."""
        return self._value(self._theta, self._solve(self._radius, self._radius_slope, radius))

    def stretch(self, radius: Array) -> Array:
        """θ/ρ at a radius."""
        # The ratio is flat at 0 where φ′(0) > 0, so a tiny radius stands for 0.
        away = np.where(np.abs(radius) < 1e-100, 1e-100, radius)
        return self.weight(away) / away

    def latent(self, theta: Array) -> Array:
        """The u of each θ; InputError where θ is outside the range of φ."""
        if self.theta == U:
            return np.asarray(theta, dtype=np.float64)
        return self._solve(partial(self._value, self._theta), partial(self._value, self._slope), theta)

    def _closed_form(self, integrand: sp.Expr) -> tuple[sp.Expr | None, float]:
        """(E(u), the least |u| from which on it agrees with quadrature), or (None, inf) where it nowhere does."""
        if integrand.has(sp.Abs):  # the energy is even, and without absolute values SymPy integrates more
            positive = sp.Symbol("u", positive=True)
            energy = sp.integrate(sp.simplify(integrand.subs(U, positive)), positive).subs(positive, U)
        else:
            energy = sp.integrate(integrand, U)
        if energy.has(sp.Integral):
            return None, np.inf
        energy = sp.simplify(energy - energy.subs(U, 0)).subs(U, sp.Abs(U))
        points = 2.7 * 2.0 ** np.arange(2, -21, -1)  # no powers of 2, at which little is rounded
        numeric = sp.lambdify(U, energy, "numpy")
        with np.errstate(all="ignore"):
            for u in points:
                both = np.array([-u, u])
                if not np.allclose(self._value(numeric, both), self._quadrature(both), rtol=TOLERANCE, atol=0):
                    return (None, np.inf) if u == points[0] else (energy, float(2 * u))
        return energy, 0.0

    def _radius(self, u: Array) -> Array:
        energy = self._value(self._closed, u) if self.energy is not None else np.zeros(u.shape)
        near = np.abs(u) < self._closed_from
        energy[near] = self._quadrature(u[near])
        return np.copysign(np.sqrt(energy), u)

    def _radius_slope(self, u: Array) -> Array:
        return self._value(self._integrand, u) / (2 * self._radius(u))

    def _quadrature(self, u: Array) -> Array:
        power = 1 if self.order == 1 else SMOOTHING  # u = v^power makes an integrand smooth at 0

        def integrand(v: Array, rows: NDArray[np.intp]) -> Array:
            if power == 1:
                return self._value(self._integrand, v)
            inner = self._value(self._integrand, np.sign(v) * np.abs(v) ** power)
            return np.asarray(inner * power * np.abs(v) ** (power - 1))

        ends = u if power == 1 else np.sign(u) * np.abs(u) ** (1 / power)
        energy, error = integrate(integrand, np.zeros(u.shape), ends)
        if np.any(error > TOLERANCE * energy):
            raise InputError(f"chart={self.theta} has an energy that quadrature does not resolve to {TOLERANCE:g}")
        return energy

    @staticmethod
    def _value(function: Callable[[Array], Array], u: Array) -> Array:
        """A lambdified expression as an array of u's shape, also where the expression is a constant."""
        return np.array(np.broadcast_to(function(u), u.shape), dtype=np.float64)

    def _solve(self, function: Callable[[Array], Array], slope: Callable[[Array], Array], target: Array) -> Array:
        """The u at which an increasing function that is 0 at 0 meets each target."""
        target = np.asarray(target, dtype=np.float64)
        sign, size = np.where(target < 0, -1.0, 1.0).ravel(), np.abs(target).ravel()

        def excess(u: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
            value = sign[rows] * function(sign[rows] * u) - size[rows]
            return np.where(np.isnan(value), np.inf, value), slope(sign[rows] * u)

        high, everywhere = np.ones(size.shape), np.arange(size.size)
        with np.errstate(all="ignore"):
            while (short := excess(high, everywhere)[0] < 0).any():
                if high.max() > LARGEST_LATENT:
                    raise InputError(f"theta={float(target.ravel()[short][0])!r} is outside the range of {self.theta}")
                high = np.where(short, 2 * high, high)
            while (far := (excess(high / 2, everywhere)[0] > 0) & (size > 0)).any():
                high = np.where(far, high / 2, high)
            root = increasing_root(excess, high / 2, high)
        return (sign * np.where(size == 0, 0.0, root)).reshape(target.shape)


def _exponent(expression: sp.Expr) -> float:
    """The e of expression ~ |u|^e at u = 0."""
    positive = sp.Symbol("u", positive=True)
    here = expression.subs(U, positive)
    return float(sp.limit(sp.simplify(positive * here.diff(positive) / here), positive, 0, "+"))
