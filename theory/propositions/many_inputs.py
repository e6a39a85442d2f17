"""Which starts recover when the neuron has d ≥ 2 inputs: all but some with a < 0, exactly given, and a half-line."""

import sympy as sp

from theory.basin_nd import recovers_nd
from theory.neuron import loss_negative
from theory.proof import Theorem, at_least, equal, negative, positive

a = sp.Symbol("a", real=True)
b, n, y, K, J, g, h, q, beta = sp.symbols("b n y K J g h q beta", positive=True)
psi, omega, z, theta = sp.symbols("psi omega z theta", real=True)
D = sp.Derivative
quarter = sp.Rational(1, 4)
kernel = sp.sin(psi) + (sp.pi - psi) * sp.cos(psi)
moving = a**2 * n**2 / 4 - a * n / (2 * sp.pi) * kernel  # the loss less ¼
pulled = a**2 * n**2 / 4 - a * n * K / (2 * sp.pi)  # the same with K > 0 in the place of the kernel
along = a**2 * n * sp.cos(psi) / 2 - a / (2 * sp.pi) * (sp.sin(psi) * sp.cos(psi) + sp.pi - psi)  # ∂L/∂w along v
across = a**2 * n * sp.sin(psi) / 2 - a / (2 * sp.pi) * sp.sin(psi) ** 2  # and across v
angle = 2 * sp.atan(y)  # in (0, π) as y runs over the positive numbers
S = sp.sqrt(4 * theta**2 + beta**2)
J_of = omega - sp.sin(omega) * sp.cos(omega)
turn = sp.sqrt(1 + y**2)  # 1/cos ω at ω = arctan y
rate_across = -g * (b**2 / 2 - b * (y / turn) / (2 * sp.pi * n))  # of ln|w_i|, i > 1, at ω = arctan y
rate_along = -(g + h) * (b**2 / 2 + b * J * turn / (2 * sp.pi * n))  # of ln|w₁|, w₁ < 0

MANY_INPUTS = Theorem(
    name="many inputs",
    title="Which starts recover, d > 1",
    hypotheses=(
        r"$d \ge 2$, teacher $\mathrm{relu}(v \cdot x)$ with $v = e_1$, population loss",
        r"charts with $g > 0$ continuous, even and not falling as $|\theta|$ grows",
        r"$\omega = \pi - \psi$, the angle between $w$ and $-v$; $E(w) = \sum_i E_w(w_i)$",
    ),
    statement=r"The teacher is recovered iff $w_0 \ne 0$, $\omega_0 > 0$, and $a_0 \ge 0$ or "
    r"$E_a(a_0) < E(w_0)$. So from $a_0 \ge 0$ every start recovers but those on the half-line "
    r"$w_0 = -sv$, $s \ge 0$, a set of measure 0, and from $a_0 < 0$ every start with $E_a(a_0) < E(w_0)$ but those. "
    r"From $a_0 < 0$ with $E_a(a_0) > E(w_0)$ the neuron ends stuck at $w = 0$, and with equality in the saddle.",
    paper=r"Overparametrization ($d > 1$) solves the complementary case $a > 0$, $w < 0$.",
    differs="It is exact, holds for Sign-In too, and covers a < 0: there the energies decide, whatever the angle. "
    "Starts close to ω = 0 recover in a time of order ω to the power −4: late, not never.",
    table=(
        "recovers",
        "recovers iff E(w₀) > E(a₀)",
        "recovers unless w₀ = −‖w₀‖v",
        "recovers iff E(w₀) > E(a₀), unless w₀ = −‖w₀‖v",
    ),
    predict=recovers_nd,
    steps=(
        equal("a∂L/∂a = w·∂L/∂w, so that E(a) − E(w) is kept", a * D(moving, a), n * D(moving, n)),
        at_least("an energy of Sign-In is not negative", (S - beta) / 2, 0, 2 * theta**2 / (S + beta)),
        equal(
            "the kernel at ψ = π − ω is an integral from 0",
            kernel.subs(psi, sp.pi - omega),
            sp.Integral(z * sp.sin(z), (z, 0, omega)),
        ),
        positive("of a positive function", angle * sp.sin(angle), angle * 2 * y / (1 + y**2)),
        at_least(
            "a = −b < 0, with K for the kernel: a rises at a rate in b, while E(w) stays above E(w) − E(a) > 0",
            sp.Subs(-g * D(pulled, a), a, -b),
            g * b * n**2 / 2,
            g * n * K / (2 * sp.pi),
        ),
        equal(
            "across v, w falls by an exponent whose rate is b times what is bounded, so it does not tend to 0",
            sp.Subs(-g * across, a, -b),
            -(n * sp.sin(psi)) * b * g * (b / 2 + sp.sin(psi) / (2 * sp.pi * n)),
        ),
        at_least(
            "nor does K then, and a reaches 0 at a rate bounded below",
            sp.Subs(-g * D(pulled, a), a, -b),
            g * n * K / (2 * sp.pi),
            g * b * n**2 / 2,
        ),
        negative(
            "a > 0 and a‖w‖ < 2K/π, here (2 − q/(1 + q))K/π: the loss is below ¼",
            sp.Subs(pulled, a, (2 - q / (1 + q)) * K / (sp.pi * n)),
            -(2 + q) * q / (1 + q) ** 2 * K**2 / (4 * sp.pi**2),
        ),
        equal(
            "at rest with a > 0 and w not 0, this is 0",
            sp.sin(psi) * along - sp.cos(psi) * across,
            -a / (2 * sp.pi) * (sp.pi - psi) * sp.sin(psi),
        ),
        positive(
            "but it is not at ψ = π − 2 arctan y, so w is on the line of v, as in d = 1",
            b / (2 * sp.pi) * angle * sp.sin(angle),
            b / (2 * sp.pi) * angle * 2 * y / (1 + y**2),
        ),
        at_least(
            "where ψ = π has a loss of ¼ or above, as w = 0 has: below ¼ only the teacher is left",
            loss_negative(a, -n),
            quarter,
            a**2 * n**2 / 4,
        ),
        equal(
            "a > 0: w₁ < 0 rises at a rate in J = ω − sin ω cos ω",
            sp.Subs(-g * along, psi, sp.pi - omega),
            g * (a**2 * n * sp.cos(omega) / 2 + a * J_of / (2 * sp.pi)),
        ),
        equal("which is positive", J_of, sp.Integral(2 * sp.sin(z) ** 2, (z, 0, omega))),
        positive(
            "so no ratio of another component to w₁ falls while it is below 1, and K does not tend to 0",
            rate_across - rate_along,
            h * b**2 / 2 + g * b * y / (2 * sp.pi * n * turn) + (g + h) * b * J * turn / (2 * sp.pi * n),
        ),
    ),
)
