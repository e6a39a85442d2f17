"""The mirror step: Sign-In at unit speed without factors, exactly, and how it differs from a step of the factors."""

import sympy as sp

from theory.proof import Theorem, equal
from theory.redistribution import mirror_step

m, w, G, theta = sp.symbols("m w G theta", real=True)
beta, eta, n, x = sp.symbols("beta eta n x", positive=True)
D = sp.Derivative
S = sp.sqrt(4 * theta**2 + beta**2)
half = sp.sqrt(n**2 + beta**2 / 4)
sinh = (sp.exp(x) - sp.exp(-x)) / 2
y = sp.Symbol("y", real=True)

MIRROR_STEP = Theorem(
    name="mirror step",
    title="The mirror step",
    hypotheses=(
        r"$\theta' = \frac{\beta}{2}\sinh(\mathrm{asinh}(2\theta/\beta) - \frac{2}{\beta}\eta G)$, "
        r"$G = \partial_\theta L$",
    ),
    statement=r"It is exactly mirror descent with step $\eta$ in the potential whose slope is "
    r"$\frac{\beta}{2}\mathrm{asinh}(2\theta/\beta)$, the hypentropy, whose metric is that of unit speed. "
    r"$\beta$ never drifts, and no factors are stored. A step of Sign-In at rate $\eta/\beta$ from factors that are "
    r"reset to $\beta$ ends at $\theta' - \theta\eta^2G^2/\beta^2 + O(\eta^3)$.",
    paper=r"$m$ and $w$ are trained, and redistributed to $\beta = 1$ every few epochs.",
    differs="The same geometry, at unit speed, as one function of θ and of what a plain step would add to it.",
    table=("the same for either sign of θ",) * 4,
    predict=mirror_step,
    steps=(
        equal(
            "the slope of the potential has the slope 1/g", D(beta / 2 * sp.asinh(2 * theta / beta), theta), beta / S
        ),
        equal(
            "the step, with x = 2ηG/β, is",
            beta / 2 * sp.sinh(sp.asinh(2 * theta / beta) - y),
            theta * sp.cosh(y) - S / 2 * sp.sinh(y),
        ),
        equal(
            "and as it is computed, where nothing cancels",
            n * (sp.exp(x) + sp.exp(-x)) / 2 - half * sinh - n,
            n * (sp.exp(-x) - 1) - beta**2 / 4 / (half + n) * sinh,
        ),
        equal(
            "a step of the factors is",
            (m - eta / beta * w * G) * (w - eta / beta * m * G),
            (m * w) * (1 + (eta * G / beta) ** 2) - (m**2 + w**2) * eta * G / beta,
        ),
        equal(
            "which, with x again, differs by θx²/4 and higher orders",
            sp.Limit((theta * (1 + y**2 / 4) - S * y / 2 - theta * sp.cosh(y) + S / 2 * sp.sinh(y)) / y**2, y, 0),
            -theta / 4,
        ),
    ),
)
