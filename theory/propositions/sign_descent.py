"""Sign descent, the limit of Adam, and the steps between it and gradient flow: what they keep, and that they cross."""

import sympy as sp

from theory.flows import SignInSignDescent
from theory.invariants import fate
from theory.proof import Theorem, equal, positive

m, u, n, y, b, k, R, G, q = sp.symbols("m u n y b k R G q", positive=True)
c = sp.Symbol("c", positive=True)
D = sp.Derivative
power = q - 1

SIGN_DESCENT = Theorem(
    name="sign descent",
    title="Sign descent, and Sign-In under it",
    hypotheses=(
        r"$d = 1$, $\dot\theta = -\mathrm{sign}(\partial_\theta L)|\partial_\theta L|^{q-1}$ for each parameter, "
        r"$1 \le q \le 2$: sign descent, the limit of Adam, for $q = 1$, gradient flow for $q = 2$",
        r"the parameters are $a$ and $w$ (then $F(\theta) = |\theta|^q$), or the factors of $a$ and of $w$",
    ),
    statement=r"$|a|^q - |w|^q$ is conserved, and for factors $|m|^q - |w|^q = \lambda$ is, so that "
    r"$\dot\theta = -\sqrt{4|\theta|^q + \lambda^2}\,\mathrm{sign}(\partial_\theta L)|\partial_\theta L|^{q-1}$ and "
    r"$F(\theta) = \sqrt{4|\theta|^q + \lambda^2} - \lambda$. From $a_0 < 0 < w_0$ the teacher is recovered iff "
    r"$F_w(w_0) > F_a(a_0)$. For $q < 2$ a weight that is pushed to 0 arrives in finite time, and from "
    r"$w_0 < 0 < a_0$ the flow crosses $w = 0$ and recovers iff $F_a(a_0) > F_w(w_0)$: Theorem 5.4 does not bind it.",
    paper=r"$m^2 - w^2 = \beta$ is conserved; no reparametrization recovers from $w < 0$.",
    differs="Under Adam's limit the conserved quantity is |m| − |w|, and w = 0 is no wall: the bound is one on "
    "gradient flow.",
    table=("recovers", "recovers iff F_w(w₀) > F_a(a₀)", "q < 2: recovers iff F_a(a₀) > F_w(w₀)", "never recovers"),
    predict=lambda a0, w0, lambda_a, lambda_w, q: fate(a0, w0, SignInSignDescent(lambda_a, lambda_w, q)),
    steps=(
        equal(
            "|a| = n and |w| = y with slopes yR and nR: both powers change at one rate",
            D(n**q, n) * (y * R) ** power,
            D(y**q, y) * (n * R) ** power,
        ),
        equal(
            "so do those of the factors, whose slopes are uG and mG",
            D(m**q, m) * (u * G) ** power,
            D(u**q, u) * (m * G) ** power,
        ),
        equal(
            "the product moves by",
            D(m * u, m) * (u * G) ** power + D(m * u, u) * (m * G) ** power,
            (m**q + u**q) * G**power,
        ),
        equal("which is a root", (m**q + u**q) ** 2, 4 * (m * u) ** q + (m**q - u**q) ** 2),
        equal(
            "and the q-th power of the factor u by |θG|, which is the same for a and for w",
            D(u**q, u) * (m * G) ** power,
            q * (m * u * G) ** power,
        ),
        equal(
            "w = −n, |a| = b, q = 2 − c: |w|^c falls at a rate that w does not enter",
            D(n**c, n) * (b**2 * n / 2) ** (1 - c),
            c * (b**2 / 2) ** (1 - c),
        ),
        equal(
            "a step of sign descent by s of both factors moves m² − w² by 2sλ",
            (m + R) ** 2 - (u + R) ** 2,
            m**2 - u**2 + 2 * R * (m - u),
        ),
        positive("beyond 0, at aw = 1/(1 + k), w is pushed on", b * k / (2 * (1 + k)), b * k / (2 * (1 + k))),
    ),
)
