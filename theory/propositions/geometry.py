"""What writing θ = m·w does to one weight: the metric, the form of it that is quoted, invariants and the support.

G stands for the gradient ∂L/∂θ of any loss.
"""

import numpy as np
import sympy as sp

from theory.invariants import invariant
from theory.neuron import loss_negative, loss_positive
from theory.proof import Theorem, at_least, equal
from theory.redistribution import metric, reset

m, w, G, t = sp.symbols("m w G t", real=True)
a, theta = sp.symbols("a theta", real=True)
beta, eta, lam, x, p = sp.symbols("beta eta lambda x p", positive=True)
D = sp.Derivative
SQUARE = sp.sqrt(4 * theta**2 + beta**2)  # S(θ)
factor = sp.sqrt((SQUARE + beta) / 2)  # m of θ


METRIC = Theorem(
    name="metric",
    title="The metric of the product",
    hypotheses=(r"$\theta = mw$", r"$\dot m = -w\,\partial_\theta L,\ \dot w = -m\,\partial_\theta L$"),
    statement=r"$m^2 - w^2 = \beta$ is conserved, $m^2 + w^2 = \sqrt{4\theta^2 + \beta^2}$, and "
    r"$\dot\theta = -\sqrt{4\theta^2 + \beta^2}\,\partial_\theta L$. The factors of $\theta$ on the orbit are "
    r"$m = \pm\sqrt{(\sqrt{4\theta^2+\beta^2}+\beta)/2}$, $w = \theta/m$.",
    paper=r"Gradient flow in $(m, w)$ is a Riemannian gradient flow in $\theta$ whose metric does not vanish at $0$.",
    differs="The factor is written out, with the numbers 4 and β² that the quoted form leaves out.",
    table=("the same flow for either sign of θ",) * 4,
    predict=metric,
    steps=(
        equal("m² − w² is conserved", D(m**2, m) * -w * G - D(w**2, w) * -m * G, 0),
        equal("θ moves by m² + w² times the gradient", D(m * w, m) * -w * G + D(m * w, w) * -m * G, -(m**2 + w**2) * G),
        equal("m² + w² is a root of 4θ² + β²", (m**2 + w**2) ** 2, 4 * (m * w) ** 2 + (m**2 - w**2) ** 2),
        at_least("and it is the root that is not negative", m**2 + w**2, 0, m**2 + w**2),
        equal("the reset keeps β", factor**2 - (theta / factor) ** 2, beta),
    ),
)

QUOTED_METRIC = Theorem(
    name="quoted metric",
    title="The metric as it is quoted",
    hypotheses=(r"$\dot\theta = -\sqrt{\theta^2 + \beta'}\,\partial_\theta L$",),
    statement=r"With $\beta' = \beta^2/4$ and time run twice as fast this is the flow of $\theta = mw$: "
    r"$\sqrt{4\theta^2 + \beta^2} = 2\sqrt{\theta^2 + \beta^2/4}$.",
    paper=r"The metric is quoted as $\sqrt{\theta^2 + \beta}$.",
    differs="The quoted β is β²/4, and the quoted time is half of the flow time of m and w.",
    table=("the same orbits, twice the time",) * 4,
    predict=lambda theta, quoted: metric(theta, 2 * np.sqrt(quoted)) / 2,
    steps=(equal("one is twice the other", SQUARE, 2 * sp.sqrt(theta**2 + beta**2 / 4)),),
)

i, j = sp.symbols("i j", integer=True, positive=True)
d = sp.Symbol("d", integer=True, positive=True)
weights, gradients = sp.IndexedBase("w", real=True), sp.IndexedBase("G", real=True)
wi, Gi = weights[i], gradients[i]
loss = sp.Function("l")
s = sp.Symbol("s", positive=True)
above = loss_negative(a, w) - sp.Rational(1, 4)
energy = (SQUARE - beta) / 2
beta_w = sp.Symbol("beta_w", positive=True)
S_i = sp.sqrt(4 * wi**2 + beta_w**2)

INVARIANTS = Theorem(
    name="invariants",
    title="Invariants in any input dimension",
    hypotheses=(
        r"$L$ sees $(a, w)$ only through $a\,\mathrm{relu}(w \cdot x)$",
        r"$\dot\theta = -g(\theta)\,\partial_\theta L$ for $a$ and each $w_i$",
        r"$E(\theta) = 2\int_0^\theta s/g(s)\,ds$",
    ),
    statement=r"$E_a(a) - \sum_i E_w(w_i)$ is conserved in every half-space where $L$ is differentiable: "
    r"$a^2 - \|w\|^2$ for the standard flow, $\sqrt{4a^2+\beta_a^2} - \sum_i \sqrt{4w_i^2+\beta_w^2}$ for Sign-In, "
    r"$a^2 - |w|^{2/p}/p$ for $w = \mathrm{sign}(u)|u|^p$.",
    paper=r"$a^2 - \|w\|^2$ is conserved; stated for the standard flow.",
    differs="One invariant for every chart and dimension; Sign-In's is the one that decides its basin.",
    table=("conserved", "conserved", "conserved", "conserved"),
    predict=invariant,
    steps=(
        equal("scaling a or w scales the neuron alike", a * D(loss(a * s), a), s * D(loss(a * s), s)),
        equal("and w·x is the sum of its parts", D(sp.Sum(x * wi * Gi, (i, 1, d)), x), sp.Sum(wi * Gi, (i, 1, d))),
        equal(
            "standard: a² − ‖w‖² changes by a∂L/∂a − w·∂L/∂w, which is 0",
            D(a**2, a) * -G - sp.Sum(D(wi**2, wi) * -Gi, (i, 1, d)),
            -2 * (a * G - sp.Sum(wi * Gi, (i, 1, d))),
        ),
        equal(
            "Sign-In: the same difference, four times over",
            D(SQUARE, theta) * -SQUARE * G - sp.Sum(D(S_i, wi) * -S_i * Gi, (i, 1, d)),
            -4 * (theta * G - sp.Sum(wi * Gi, (i, 1, d))),
        ),
        equal(
            "energy of a product", sp.Integral(2 * x / sp.sqrt(4 * x**2 + beta**2), (x, 0, s)), energy.subs(theta, s)
        ),
        equal("energy of a power", D(x ** (2 / p) / p, x), 2 * x / (p**2 * x ** (2 - 2 / p))),
        equal("d = 1, w > 0", a * D(loss_positive(a, w), a), w * D(loss_positive(a, w), w)),
        equal("d = 1, w < 0", a * D(above, a), w * D(above, w)),
    ),
)

regrown = sp.sqrt(beta + w**2)  # m on the orbit of a regrown weight
next_m, next_w = (1 - eta * lam) * m - eta * w * G, (1 - eta * lam) * w - eta * m * G

SUPPORT = Theorem(
    name="support",
    title="The support never grows by itself",
    hypotheses=(
        r"$\theta = mw$ with $m = w = 0$",
        r"updates are a function of present and past gradients that vanishes where they do (momentum, Adam, decay)",
    ),
    statement=r"$m = w = 0$ is kept: $\partial L/\partial m = wG$ and $\partial L/\partial w = mG$ carry the other "
    r"factor. A regrown weight that starts at $m = \sqrt\beta, w = 0$ has $\theta = 0$ and $\dot\theta = -\beta G$.",
    paper="Pruned weights are kept at zero by the mask.",
    differs="No multiplication by the mask is needed: pruned factors are a fixed point of every first-order optimizer.",
    table=("holds for either sign of the gradient",) * 4,
    predict=lambda beta: reset(np.zeros(()), beta),
    steps=(
        equal("each gradient carries the other factor", m * D(loss(m * w), m), w * D(loss(m * w), w)),
        equal("a step with decay scales m + w", next_m + next_w, (1 - eta * lam - eta * G) * (m + w)),
        equal("and scales m − w, so that zero stays zero", next_m - next_w, (1 - eta * lam + eta * G) * (m - w)),
        equal(
            "a regrown weight moves at rate β, from w = 0 on", D(regrown * w, w) * -regrown * G, -(beta + 2 * w**2) * G
        ),
    ),
)
