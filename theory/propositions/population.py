"""The population loss for Gaussian inputs, from its integrals, with its gradient: d = 1 and d > 1."""

import numpy as np
import sympy as sp

from theory.arrays import Array
from theory.neuron import loss_negative, loss_positive
from theory.proof import Theorem, equal, negative

a, w, z = sp.symbols("a w z", real=True)
quarter = sp.Rational(1, 4)
x, r, n, y = sp.symbols("x r n y", positive=True)
psi = sp.Symbol("psi", positive=True)
angle = sp.Symbol("omega", real=True)
D = sp.Derivative
density = sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)
kernel = sp.sin(psi) + (sp.pi - psi) * sp.cos(psi)
turning = -a * n / (2 * sp.pi) * kernel  # all of the loss that the angle moves
moving = a**2 * n**2 / 4 + turning  # all that a and ‖w‖ move
LOSS = moving + quarter


def _loss(a: float, w: float) -> Array:
    product = np.multiply(a, w)
    return np.asarray(np.where(np.greater(w, 0), (product - 1) ** 2, product**2 + 1) / 4)


def _loss_nd(a: float, norm: float, psi: float) -> Array:
    overlap = np.sin(psi) + (np.pi - psi) * np.cos(psi)
    return np.asarray(np.multiply(a, norm) ** 2 / 4 - np.multiply(a, norm) / (2 * np.pi) * overlap + 0.25)


POPULATION = Theorem(
    name="population",
    title="Population loss, one input",
    hypotheses=(r"$x \sim N(0, 1)$", r"$L = \frac12 E[(a\,\mathrm{relu}(wx) - \mathrm{relu}(x))^2]$"),
    statement=r"$L = \frac14(aw - 1)^2$ for $w > 0$ and $L = \frac14(a^2w^2 + 1)$ for $w \le 0$. The two differ by "
    r"$-\frac12 aw$: $L$ is continuous with a kink of slope $-\frac12 a$ on $w = 0$.",
    paper="The loss is used through its gradient flow.",
    differs="Written out, with the kink, which decides every start near w = 0.",
    table=("¼(aw − 1)²", "¼(aw − 1)²", "¼(a²w² + 1)", "¼(a²w² + 1)"),
    predict=_loss,
    steps=(
        equal("the half-moment of a Gaussian", sp.Integral(x**2 * density, (x, 0, sp.oo)), sp.Rational(1, 2)),
        equal("w > 0: both neurons see x > 0", (a * w - 1) ** 2 / 2 * sp.Rational(1, 2), loss_positive(a, w)),
        equal(
            "w < 0: student and teacher see opposite halves",
            a**2 * w**2 / 2 * sp.Rational(1, 2) + sp.Rational(1, 2) * sp.Rational(1, 2),
            loss_negative(a, w),
        ),
        equal("the sides meet on w = 0, in a kink", loss_positive(a, w) - loss_negative(a, w), -a * w / 2),
        equal("∂L/∂a, w > 0", D(loss_positive(a, w), a), (a * w - 1) * w / 2),
        equal("∂L/∂w, w > 0", D(loss_positive(a, w), w), (a * w - 1) * a / 2),
        equal("∂L/∂a, w < 0", quarter + sp.Integral(z * w**2 / 2, (z, 0, a)), loss_negative(a, w)),
        equal("∂L/∂w, w < 0", quarter + sp.Integral(a**2 * z / 2, (z, 0, w)), loss_negative(a, w)),
    ),
)

overlap = sp.Integral(sp.cos(angle) * sp.cos(angle - psi), (angle, psi - sp.pi / 2, sp.pi / 2))
rate = -D(turning, psi) / n**2
opening = sp.pi - 2 * sp.atan(y)  # ψ in (0, π) as y runs over the positive numbers

POPULATION_ND = Theorem(
    name="population, d > 1",
    title="Population loss, many inputs",
    hypotheses=(r"$x \sim N(0, I_d)$, $d \ge 2$, $\|v\| = 1$", r"$\psi = \angle(w, v)$, $w \ne 0$"),
    statement=r"$L = \frac14 a^2\|w\|^2 - \frac{a\|w\|}{2\pi}(\sin\psi + (\pi-\psi)\cos\psi) + \frac14$, with "
    r"$\partial_a L = \frac12 a\|w\|^2 - \frac{\|w\|}{2\pi}(\sin\psi + (\pi-\psi)\cos\psi)$ and "
    r"$\nabla_w L = \frac12 a^2 w - \frac{a}{2\pi}(\sin\psi\, w/\|w\| + (\pi-\psi) v)$. In the standard flow "
    r"$\dot\psi = -\frac{a}{2\pi\|w\|}(\pi - \psi)\sin\psi$: for $a > 0$ the neuron turns towards the teacher.",
    paper=r"Overparametrization ($d > 1$) solves the complementary case $a > 0$, $w < 0$.",
    differs="Loss and gradient are given; the angle's equation is the reason: only a > 0 turns the right way.",
    table=("turns to the teacher", "turns away", "turns to the teacher", "turns away"),
    predict=_loss_nd,
    steps=(
        equal("radial part", sp.Integral(r**3 * sp.exp(-(r**2) / 2), (r, 0, sp.oo)), 2),
        equal("angular part, over the wedge where both neurons are active", overlap, kernel / 2),
        equal("the square, expanded", (a**2 * n**2 / 2 - 2 * a * n * kernel / 2 / sp.pi + sp.Rational(1, 2)) / 2, LOSS),
        equal("∂L/∂a", D(moving, a), a * n**2 / 2 - n / (2 * sp.pi) * kernel),
        equal(
            "∂L/∂w along v",
            sp.cos(psi) * D(moving, n) - sp.sin(psi) / n * D(turning, psi),
            a**2 * n * sp.cos(psi) / 2 - a / (2 * sp.pi) * (sp.sin(psi) * sp.cos(psi) + sp.pi - psi),
        ),
        equal(
            "∂L/∂w across v",
            sp.sin(psi) * D(moving, n) + sp.cos(psi) / n * D(turning, psi),
            a**2 * n * sp.sin(psi) / 2 - a / (2 * sp.pi) * sp.sin(psi) ** 2,
        ),
        equal("the angle's velocity", rate, -a * (sp.pi - psi) * sp.sin(psi) / (2 * sp.pi * n)),
        negative(
            "is negative at a = x > 0",
            rate.doit().subs({a: x, psi: opening}, simultaneous=True),
            -x * 2 * sp.atan(y) * 2 * y / (1 + y**2) / (2 * sp.pi * n),
        ),
        equal("ψ = 0 is d = 1, w > 0", LOSS.subs(psi, 0), loss_positive(a, n)),
        equal("ψ = π is d = 1, w < 0", LOSS.subs(psi, sp.pi), loss_negative(a, -n)),
    ),
)
