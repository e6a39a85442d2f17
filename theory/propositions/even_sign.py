"""Before any training the even part of the data shows the sign of an output weight, whatever half-plane w is in."""

import numpy as np
import sympy as sp

from theory.arrays import Array
from theory.network import even_covariance
from theory.proof import Theorem, equal, positive

x, n, y = sp.symbols("x n y", positive=True)
psi, omega, phi, z = sp.symbols("psi omega varphi z", real=True)
density = sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)
quarter_turn = sp.pi / 2
product = sp.cos(omega) * sp.cos(omega - psi)  # of X/r and Y/r, X and Y standard Gaussians with correlation cos ψ
both = sp.sin(psi) + (sp.pi - psi) * sp.cos(psi)  # twice the integral of the product over the wedge X, Y > 0
one = sp.sin(psi) - psi * sp.cos(psi)  # twice that of its size over the wedge X < 0 < Y
even = sp.cos(phi) + phi * sp.sin(phi) - 1  # π/2 times the covariance at ψ = π/2 − φ
rise = sp.atan(y)  # φ in (0, π/2) as y runs over the positive numbers


def _covariance(b: Array, w_norm: Array, v_norm: Array, psi: Array) -> Array:
    """cov(|w·x|, residual) = ½b‖w‖‖v‖ cov(|X|, |Y|); its sign is that of b unless ψ = π/2."""
    return np.asarray(np.multiply(b, w_norm) * v_norm * even_covariance(psi) / 2)


EVEN_SIGN = Theorem(
    name="even sign",
    title="Output signs from the data",
    hypotheses=(
        r"$x \sim N(0, I_d)$, teacher $y = \sum_j b_j\,\mathrm{relu}(v_j \cdot x)$",
        r"$w_i \cdot v_j = 0$ for $i \ne j$, as on disjoint supports; $w_i \cdot v_i \ne 0$",
    ),
    statement=r"The linear fit of $y$ is $\frac12\sum_j b_jv_j \cdot x$ plus a constant. What it leaves, "
    r"$\frac12\sum_j b_j(|v_j \cdot x| - E|v_j \cdot x|)$, has with $|w_i \cdot x|$ the covariance "
    r"$\frac{1}{\pi}b_i\|w_i\|\|v_i\|(\sin\psi + (\pi/2 - \psi)\cos\psi - 1)$, $\psi = \angle(w_i, v_i)$, whose "
    r"sign is that of $b_i$ on both sides of $w_i \cdot v_i = 0$. The coefficients of the fit, $b_iv_i/2$ on the "
    r"inputs of neuron $i$, then give the signs of $v_i$.",
    paper=r"A better initialization of signs is left open; Theorem 5.4 forbids every flow to leave $w < 0$.",
    differs="Signs that no flow reaches are read off the data at the cost of a forward pass.",
    table=("reads the sign of b",) * 4,
    predict=_covariance,
    steps=(
        equal("z > 0: relu(z) − z/2 is |z|/2", n - n / 2, sp.Abs(n) / 2),
        equal("z < 0: likewise", 0 + n / 2, sp.Abs(-n) / 2),
        equal(
            "X = Y cos ψ + Z sin ψ: E[X relu(Y)] is half of the correlation, so the fit has the coefficients v/2",
            sp.cos(psi) * sp.Integral(x**2 * density, (x, 0, sp.oo)),
            sp.cos(psi) / 2,
        ),
        equal(
            "and E[X|Y|] = 0: both signs of Y give one size",
            sp.Integral(x**2 * density, (x, 0, sp.oo)),
            sp.Integral(z**2 * density.subs(x, z), (z, -sp.oo, 0)),
        ),
        equal("the radial part of E|XY|, y = r²/2", sp.Integral(2 * y * sp.exp(-y), (y, 0, sp.oo)), 2),
        equal("X and Y of one sign", sp.Integral(product, (omega, psi - quarter_turn, quarter_turn)), both / 2),
        equal("X and Y of two signs", -sp.Integral(product, (omega, quarter_turn, psi + quarter_turn)), one / 2),
        equal("the mean of a size", 2 * sp.Integral(x * density, (x, 0, sp.oo)), sp.sqrt(2 / sp.pi)),
        equal(
            "the covariance of two sizes",
            2 * (both + one) / (2 * sp.pi) - 2 / sp.pi,
            2 * (sp.sin(psi) + (sp.pi / 2 - psi) * sp.cos(psi) - 1) / sp.pi,
        ),
        equal("about ψ = π/2 − φ", sp.sin(psi) + (sp.pi / 2 - psi) * sp.cos(psi) - 1, even.subs(phi, sp.pi / 2 - psi)),
        equal("it is an integral", even, sp.Integral(psi * sp.cos(psi), (psi, 0, phi))),
        positive("of a positive function on 0 < φ < π/2", rise * sp.cos(rise), rise / sp.sqrt(1 + y**2)),
        equal("the same at −φ: the half-plane of w does not show", even.subs(phi, -phi), even),
        equal("and 0 at right angles: other neurons do not show", sp.Limit(even / phi**2, phi, 0), sp.Rational(1, 2)),
    ),
)
