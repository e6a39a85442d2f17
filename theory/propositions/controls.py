"""Flows that have a metric of their own, beside Sign-In: layer rates, unit speed and HAM, and what tells them apart.

One neuron under the gradient flow of the population loss; `d = 1` unless a statement says otherwise.
"""

import sympy as sp

from theory.flows import HAM, LayerRates, SignIn, UnitSpeed
from theory.invariants import fate, recovers
from theory.neuron import loss_positive
from theory.proof import Theorem, at_least, equal, negative, positive

a, w, theta = sp.symbols("a w theta", real=True)
n, r, y, k, c, s, x, L = sp.symbols("n r y k c s x L", positive=True)
g, h, eta, alpha, beta = sp.symbols("g h eta alpha beta", positive=True)
metric = sp.Function("g")
D = sp.Derivative
da, dw = -D(loss_positive(a, w), a), -D(loss_positive(a, w), w)
S = sp.sqrt(4 * n**2 + beta**2)

SEPARABLE = Theorem(
    name="any metric",
    title="The basin of any metric",
    hypotheses=(
        r"$d = 1$, $\dot\theta = -g(\theta)\,\partial_\theta L$ for $a$ and $w$, each with its $g$",
        r"$g$ even, continuous, positive away from 0; $\int_0 ds/g_a(s)$ finite, and where $g_a(0) = 0$ the flow of "
        r"$a$ does not rest at 0",
        r"$E(\theta) = 2\int_0^\theta s/g(s)\,ds$",
    ),
    statement=r"$E_a(a) - E_w(w)$ is conserved. From $a_0 < 0 < w_0$ the teacher is recovered iff "
    r"$E_w(w_0) > E_a(a_0)$. If $\int_0 ds/g_a$ diverges, $a$ never reaches 0 and no such start recovers.",
    paper=r"The metric of the product $mw$ lets $a$ cross 0.",
    differs="The condition is one of energies, for every metric: plain flow passes 0 as well.",
    table=("recovers", "recovers iff E_w(w₀) > E_a(a₀)", "never recovers", "never recovers"),
    predict=lambda a0, w0, flow: fate(a0, w0, flow),
    steps=(
        equal("the slope of an energy", D(sp.Integral(2 * s / metric(s), (s, 0, x)), x), 2 * x / metric(x)),
        positive("is positive, so an energy grows with |θ|", 2 * n / g, 2 * n / g),
        equal("the difference of energies is kept", 2 * a / g * (g * da) - 2 * w / h * (h * dw), 0),
        at_least(
            "a = −n: |a| falls at a rate bounded by w, which E_w > E_w − E_a keeps from 0",
            sp.Subs(g * da, (a, w), (-n, y)),
            g * y / 2,
            g * n * y**2 / 2,
        ),
        equal(
            "so the integral of 1/g from 0 to |a| falls at a rate above w/2, and is 0 in finite time",
            D(sp.Integral(1 / metric(s), (s, 0, n)), n) * metric(n) * y * (1 + n * y) / 2,
            y * (1 + n * y) / 2,
        ),
        equal("at a = 0 it goes on", sp.Subs(da, (a, w), (0, y)), y / 2),
        equal("and z = aw rises to 1", a * h * dw + w * g * da, (1 - a * w) * (a**2 * h + w**2 * g) / 2),
    ),
)

kappa = 1 + k  # √(η_a/η_w) where η_a > η_w

LAYER_RATES = Theorem(
    name="layer rates",
    title="Theorem 5.2's condition without a reparametrization",
    hypotheses=(r"$d = 1$, plain gradient flow with the learning rate $\eta_a$ for $a$ and $\eta_w$ for $w$",),
    statement=r"$a^2/\eta_a - w^2/\eta_w$ is conserved, and from $a_0 < 0 < w_0$ the teacher is recovered iff "
    r"$w_0^2/\eta_w > a_0^2/\eta_a$. On the balanced line the condition is $\eta_a > \eta_w$. With "
    r"$\kappa = \sqrt{\eta_a/\eta_w}$ the share of $a < 0 < w$ in $[-2, 2]^2$ is $1 - 1/(2\kappa)$ for $\kappa \ge 1$ "
    r"and $\kappa/2$ below.",
    paper=r"Sign-In recovers the teacher also from $a < 0$, $w > 0$ (if $\beta_1 > \beta_2$).",
    differs="Two learning rates do so as well: the condition of Theorem 5.2 is one on rates, which β sets.",
    table=("recovers", "recovers iff w₀²/η_w > a₀²/η_a", "never recovers", "never recovers"),
    predict=lambda a0, w0, rate_a, rate_w: fate(a0, w0, LayerRates(rate_a, rate_w)),
    steps=(
        equal("the energy of a rate", sp.Integral(2 * s / eta, (s, 0, x)), x**2 / eta),
        positive(
            "balanced, η_a = η + k: w has the larger one",
            r**2 / eta - r**2 / (eta + k),
            r**2 * k / (eta * (eta + k)),
        ),
        equal(
            "the share for κ = 1 + k: up to w = L/κ the starts with |a| < κw, beyond it all",
            (sp.Integral(kappa * y, (y, 0, L / kappa)) + sp.Integral(L, (y, L / kappa, L))) / L**2,
            1 - 1 / (2 * kappa),
        ),
        equal("and for κ = 1/(1 + k)", sp.Integral(y / kappa, (y, 0, L)) / L**2, 1 / (2 * kappa)),
    ),
)

edge = sp.sqrt(beta**2 + 4 * c * beta)  # S(θ) at θ² = cβ

RATES_CONTAIN = Theorem(
    name="rates contain Sign-In",
    title="Layer rates recover all that Sign-In does, and more",
    hypotheses=(r"$d = 1$, $\beta_a > \beta_w > 0$",),
    statement=r"The basin of Sign-In with $(\beta_a, \beta_w)$ is a strict subset of the basin of plain flow with the "
    r"learning rates $(\beta_a, \beta_w)$, and it tends to it as both grow in proportion. For $\beta_a < \beta_w$ "
    r"it is a strict superset.",
    paper=r"Sign-In recovers the teacher also from $a < 0$, $w > 0$ (if $\beta_1 > \beta_2$).",
    differs="Where Sign-In helps, its own rates at 0 help more: the geometry takes some of that away.",
    table=("both recover", "rates recover wherever Sign-In does", "neither recovers", "neither recovers"),
    predict=lambda a0, w0, beta_a, beta_w: (
        recovers(a0, w0, LayerRates(beta_a, beta_w)),
        recovers(a0, w0, SignIn(beta_a, beta_w)),
    ),
    steps=(
        equal(
            "on the edge of the rates, θ² = cβ in both layers, Sign-In has",
            sp.Subs(sp.sqrt(4 * theta**2 + beta**2) - beta, theta, sp.sqrt(c * beta)),
            edge - beta,
        ),
        positive(
            "which grows with β: there a demands more than w offers",
            D(edge - beta, beta),
            4 * c**2 / (edge * (beta + 2 * c + edge)),
        ),
        positive("and w offers more as it grows, so that the edge of Sign-In lies inside", D(S, n), 4 * n / S),
        equal("the gap closes", sp.Limit(edge - beta, beta, sp.oo), 2 * c),
        positive("from below", 2 * c - (edge - beta), 4 * c**2 / (2 * c + beta + edge)),
    ),
)

energy = beta / 2 * (S - beta)
unit = sp.sqrt(1 + 4 * n**2 / beta**2)

UNIT_SPEED = Theorem(
    name="unit speed",
    title="The geometry of Sign-In without its learning rate",
    hypotheses=(r"$d = 1$, $g = \sqrt{1 + 4\theta^2/\beta^2}$, which is 1 at $\theta = 0$",),
    statement=r"$E = \frac{\beta}{2}(\sqrt{4\theta^2 + \beta^2} - \beta)$. On the balanced line $|a_0| = w_0$ a start "
    r"$a_0 < 0 < w_0$ recovers iff $\beta_w > \beta_a$: the opposite order. As $\beta \to 0$ the flow is exponentiated "
    r"gradient at rate $2/\beta$, as $\beta \to \infty$ the plain flow. The shares of $(\beta_a, \beta_w)$ and "
    r"$(\beta_w, \beta_a)$ add up to 1.",
    paper=r"Sign-In recovers the teacher also from $a < 0$, $w > 0$ (if $\beta_1 > \beta_2$).",
    differs="That order comes from the speed β at θ = 0. At equal speed there, the geometry asks for the reverse.",
    table=("recovers", "recovers iff E_w(w₀) > E_a(a₀)", "never recovers", "never recovers"),
    predict=lambda a0, w0, beta_a, beta_w: fate(a0, w0, UnitSpeed(beta_a, beta_w)),
    steps=(
        equal("the slope of the energy, whose constant is 0 at θ = 0", D(beta / 2 * S, n), 2 * n / unit),
        positive("grows with β at equal |θ|", D(energy, beta), 8 * n**4 / (S * (S + beta) ** 2)),
        equal("(β/2)g tends to |θ| as β falls", beta / 2 * unit, sp.sqrt(n**2 + beta**2 / 4)),
        equal("and g to 1 as β grows", unit - 1, 4 * n**2 / beta**2 / (unit + 1)),
    ),
)

t, T, t1, t2, t3, demand = sp.symbols("t T t_1 t_2 t_3 t_a", positive=True)


def _square(value: sp.Expr) -> sp.Expr:
    """t² + 2βt, which is 4θ² for t = S(θ) − β."""
    return value**2 + 2 * beta * value


EQUAL_CHARTS = Theorem(
    name="equal charts",
    title="One β for both layers",
    hypotheses=(
        r"the same chart for $a$ and for each $w_i$",
        r"for $d \ge 2$ products $mw$ with one $\beta$, at any speed, and $w_0$ not on the half-line $-sv$",
        r"$t_i = \sqrt{4w_{0,i}^2 + \beta^2} - \beta$",
    ),
    statement=r"For $d = 1$ the basin is that of the plain flow, from every start: $w_0 > 0$ and $a_0 + w_0 > 0$. For "
    r"$d \ge 2$ a start with $a_0 < 0$ recovers iff $a_0^2 < \|w_0\|^2 + \frac12\sum_{i<j} t_it_j$, where plain flow "
    r"asks for $a_0^2 < \|w_0\|^2$. The addition is at most $2\sum_{i<j} |w_{0,i}w_{0,j}|$, near that for "
    r"$\beta \ll |w_{0,i}|$, and at most $2\sum_{i<j} w_{0,i}^2w_{0,j}^2/\beta^2$, which is little for "
    r"$\beta \gg |w_{0,i}|$.",
    paper=r"Uniform $\beta = 1$ does in practice what the theory asks of $\beta_1 > \beta_2$.",
    differs="With one input it does nothing to any start. With several it tilts the basin, by weights of the size of "
    "β and more; a balanced start a < 0 then recovers as soon as two components of w differ from 0.",
    table=(
        "recovers",
        "recovers iff a₀² is below the bound",
        "as the plain flow: never for d = 1",
        "d = 1: never; d > 1: iff a₀² is below the bound",
    ),
    predict=lambda a0, w0, chart_flow: fate(a0, w0, chart_flow),
    steps=(
        positive("an energy grows with |θ|, so one input compares |a| and w", 2 * n / g, 2 * n / g),
        equal("t² + 2βt is 4θ²", _square(S - beta), 4 * n**2),
        equal("one more component adds its own and 2Tt", _square(T + t) - _square(T), _square(t) + 2 * T * t),
        equal(
            "so three give their sum and each product twice",
            _square(t1 + t2 + t3),
            _square(t1) + _square(t2) + _square(t3) + 2 * (t1 * t2 + t1 * t3 + t2 * t3),
        ),
        equal(
            "the sum exceeds what a demands iff its square does",
            _square(T) - _square(demand),
            (T - demand) * (T + demand + 2 * beta),
        ),
        at_least("t is at most 2|θ|", 2 * n, S - beta, 4 * n * beta / (2 * n + beta + S)),
        at_least("and at most 2θ²/β", 2 * n**2 / beta, S - beta, 8 * n**4 / (beta * (S + beta) ** 2)),
    ),
)

HAM_FAMILY = Theorem(
    name="HAM",
    title="HAM and unit speed are one family",
    hypotheses=(r"$d = 1$, $g = 1 + \alpha|\theta|$ in each layer",),
    statement=r"$E = \frac{2}{\alpha}(|\theta| - \ln(1 + \alpha|\theta|)/\alpha)$, and on the balanced line a start "
    r"$a_0 < 0 < w_0$ recovers iff $\alpha_a > \alpha_w$. With $\alpha = 2/\beta$ the metric of unit speed is "
    r"$\sqrt{1 + \alpha^2\theta^2}$, and HAM's is at least that and at most $\sqrt 2$ times that. So unit speed with "
    r"$\beta = 1$ has the strength $\alpha = 2$, where HAM uses 200.",
    paper="HAM (arXiv 2506.02630) is a later method of the same group.",
    differs="Says on one scale how strong each of them is.",
    table=("recovers", "recovers iff E_w(w₀) > E_a(a₀)", "never recovers", "never recovers"),
    predict=lambda a0, w0, alpha_a, alpha_w: fate(a0, w0, HAM(alpha_a, alpha_w)),
    steps=(
        equal(
            "the energy",
            sp.Integral(2 * s / (1 + alpha * s), (s, 0, x)),
            2 / alpha * (x - sp.log(1 + alpha * x) / alpha),
        ),
        negative("its slope falls as α grows", D(2 * x / (1 + alpha * x), alpha), -2 * x**2 / (1 + alpha * x) ** 2),
        equal("unit speed at β = 2/α", sp.Subs(unit, beta, 2 / alpha), sp.sqrt(1 + alpha**2 * n**2)),
        at_least("with x = α|θ|: HAM's square is at least that", (1 + x) ** 2, 1 + x**2, 2 * x),
        at_least("and at most twice that", 2 * (1 + x**2), (1 + x) ** 2, (1 - x) ** 2),
    ),
)
