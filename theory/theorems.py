"""Theorems 5.1, 5.2 and 5.4 of the paper as they hold, with proofs, and the list of all statements.

The statements that they rest on are in `theory.propositions`. The paper writes β₁ for β_a and β₂ for β_w.
"""

import sympy as sp

from theory.flows import SignIn, Standard
from theory.invariants import fate
from theory.neuron import loss_negative, loss_positive
from theory.proof import Theorem, at_least, equal, negative
from theory.propositions.basins import BETA_LIMIT, ROUGH, SLIDING, UNBALANCED
from theory.propositions.controls import EQUAL_CHARTS, HAM_FAMILY, LAYER_RATES, RATES_CONTAIN, SEPARABLE, UNIT_SPEED
from theory.propositions.decay import DECAY
from theory.propositions.discretisation import BETA_DECAY, BETA_STEPS, ESCAPE
from theory.propositions.even_sign import EVEN_SIGN
from theory.propositions.geometry import INVARIANTS, METRIC, QUOTED_METRIC, SUPPORT
from theory.propositions.many_inputs import MANY_INPUTS
from theory.propositions.mirror import MIRROR_STEP
from theory.propositions.population import POPULATION, POPULATION_ND
from theory.propositions.sign_descent import SIGN_DESCENT

a, w, x, u = sp.symbols("a w x u", real=True)
n, t, y, k, v, s, r = sp.symbols("n t y k v s r", positive=True)
beta_a, beta_w = sp.symbols("beta_a beta_w", positive=True)
D = sp.Derivative
above = loss_negative(a, w) - sp.Rational(1, 4)
da, dw = -D(loss_positive(a, w), a), -D(loss_positive(a, w), w)
rise = n / (n + (1 - n) * sp.exp(-t))  # w² = a² on a = w
fall = n / ((1 + n) * sp.exp(t) - n)  # w² = a² on a = −w
sink = n / (1 + n * t)  # w² = a² on w < 0

THEOREM_5_1 = Theorem(
    name="5.1",
    title="Standard flow, balanced start",
    hypotheses=(r"$d = 1$, gradient flow in $(a, w)$", r"$a_0^2 = w_0^2 > 0$"),
    statement=r"The teacher is recovered iff $a_0 > 0$ and $w_0 > 0$: then $a = w$ and $w^2 \to 1$. Each of the other "
    r"three quadrants ends in the saddle $(0, 0)$: from $a_0 < 0 < w_0$ like $e^{-t/2}$, from "
    r"$w_0 < 0$ like $t^{-1/2}$.",
    paper=r"The standard flow recovers the teacher only from $a > 0$, $w > 0$.",
    differs="Balance a₀² = w₀² is needed; without it half of the quadrant a < 0 < w recovers (see unbalanced).",
    table=("recovers", "saddle", "saddle", "saddle"),
    predict=lambda a0, w0: fate(a0, w0, Standard()),
    steps=(
        equal("w > 0: a² − w² = 0 is kept", D(a**2, a) * da - D(w**2, w) * dw, 0),
        equal("w < 0: likewise", D(a**2, a) * -D(above, a) - D(w**2, w) * -D(above, w), 0),
        equal("a = w: w² obeys", sp.Subs(D(w**2, w) * dw, a, w), w**2 * (1 - w**2)),
        equal("which is solved by", D(rise, t), rise * (1 - rise)),
        equal("from n, which 1/w² − 1 shows", 1 / rise - 1, (1 / n - 1) * sp.exp(-t)),
        equal("and tends to 1 like e^{−t}", sp.Limit((1 - rise) * sp.exp(t), t, sp.oo), 1 / n - 1),
        equal("a = −w: w² obeys", sp.Subs(D(w**2, w) * dw, a, -w), -(w**2) * (1 + w**2)),
        equal("which is solved by a fall", D(fall, t), -fall * (1 + fall)),
        equal("from n to 0, which 1/w² + 1 shows", 1 / fall + 1, (1 / n + 1) * sp.exp(t)),
        equal("w < 0: w² obeys", sp.Subs(D(w**2, w) * -D(above, w), a, w), -(w**4)),
        equal("which is solved by a slower fall", D(sink, t), -(sink**2)),
        equal("from n to 0, which 1/w² shows", 1 / sink, 1 / n + t),
    ),
)

# Radii: θ = ρ√(ρ² + β), so that E(θ) = ρ² and dθ/dρ = (2ρ² + β)/√(ρ² + β); x is the radius of a, y that of w.
stretch_a, stretch_w = sp.sqrt(x**2 + beta_a), sp.sqrt(y**2 + beta_w)
product = x * y * stretch_a * stretch_w  # z = aw
dx, dy = (
    stretch * sp.Subs(slope, (a, w), (x * stretch_a, y * stretch_w))
    for stretch, slope in ((stretch_a, da), (stretch_w, dw))
)
growth = (1 - product) / 2 * stretch_a * stretch_w
stretches = sp.sqrt(n**2 + beta_a) * stretch_w  # at x = −n
least = sp.sqrt(beta_a) * sp.sqrt(beta_w)
excess = (n**2 * y**2 + beta_w * n**2 + beta_a * y**2) / (stretches + least)  # of the stretches over their least
g = sp.Symbol("g", positive=True)  # the metric of w
speed_a = sp.sqrt(4 * a**2 + beta_a**2)
offer = sp.sqrt(4 * r**2 + beta_w**2) - beta_w

THEOREM_5_2 = Theorem(
    name="5.2",
    title="Sign-In flow",
    hypotheses=(
        r"$d = 1$, $a = m_aw_a$, $w = m_ww_w$ with $m^2 - w^2 = \beta_a$ and $\beta_w > 0$",
        r"$S_i(\theta) = \sqrt{4\theta^2 + \beta_i^2}$",
        r"$w_0 > 0$",
    ),
    statement=r"If $a_0 \ge 0$ the teacher is recovered. If $a_0 < 0$ it is recovered iff "
    r"$S_w(w_0) - \beta_w > S_a(a_0) - \beta_a$; equality ends in the saddle, the reverse sticks on $w = 0$. "
    r"On the balanced line $|a_0| = w_0$ the condition is $\beta_a > \beta_w$.",
    paper=r"Sign-In recovers the teacher also from $a < 0$, $w > 0$ (if $\beta_1 > \beta_2$).",
    differs="The basin is exact for every start; of balanced ones it says β_a > β_w, the β₁ > β₂ of the paper.",
    table=("recovers", "recovers iff S_w(w₀) − β_w > S_a(a₀) − β_a", "never recovers", "never recovers"),
    predict=lambda a0, w0, beta_a, beta_w: fate(a0, w0, SignIn(beta_a, beta_w)),
    steps=(
        equal("radius: S = 2ρ² + β", (2 * x**2 + beta_a) ** 2, 4 * (x * stretch_a) ** 2 + beta_a**2),
        equal("radius: dθ/dρ = S/√(ρ² + β)", D(x * stretch_a, x), (2 * x**2 + beta_a) / stretch_a),
        equal("x² − y² is kept", x * dx, y * dy),
        equal("x + y grows or falls by one rate", dx + dy, growth * (x + y)),
        equal("and so does y − x, reversed", dy - dx, -growth * (y - x)),
        at_least(
            "x = −n < 0: the rate is bounded below, so x or y is 0 in finite time",
            growth.subs(x, -n),
            least / 2,
            n * y * (n**2 + beta_a) * (y**2 + beta_w) / 2 + excess / 2,
        ),
        equal("x = 0 comes first iff y² > x²: in energies", (y - x) * (y + x), (2 * y**2 + beta_w - beta_w) / 2 - x**2),
        equal("then z rises to 1", a * g * dw + w * speed_a * da, (1 - a * w) * (a**2 * g + w**2 * speed_a) / 2),
        at_least(
            "at a rate bounded below by w, which grows",
            (a**2 * g + n**2 * speed_a) / 2,
            n**2 * beta_a / 2,
            a**2 * g / 2 + n**2 * 2 * a**2 / (speed_a + beta_a),
        ),
        negative(
            "balanced: the energy falls as β grows",
            D(offer, beta_w),
            -4 * r**2 / ((offer + beta_w) * (offer + 2 * beta_w)),
        ),
    ),
)

chart, exponent = sp.Function("phi"), sp.Function("K", real=True)
decay = -n * sp.exp(-exponent(t))

THEOREM_5_4 = Theorem(
    name="5.4",
    title="No C¹ parametrization recovers from w < 0",
    hypotheses=(
        r"$d = 1$, $a = \varphi_a(u_a)$, $w = \varphi(u)$ with $\varphi_a, \varphi \in C^1$",
        r"gradient flow in $(u_a, u)$",
        r"$w_0 < 0$",
    ),
    statement=r"$w(t) = w_0\,e^{-K(t)}$ with $K(t) = \frac12\int_0^t \varphi'(u)^2a^2\,ds$ finite at every $t$. So "
    r"$w < 0$ and $L \ge \frac14$ for all time: the teacher is not recovered, in finite time or in the limit.",
    paper=r"No continuous reparametrization recovers the teacher from $w < 0$.",
    differs="The chart must be C¹; continuity alone is not enough (see p < 1).",
    table=("not covered", "not covered", "never recovers", "never recovers"),
    predict=lambda a0, w0, flow: fate(a0, w0, flow),
    steps=(
        equal(
            "w < 0: the flow of u moves w by",
            D(chart(u), u) * -D(a**2 * chart(u) ** 2 / 4, u),
            -(a**2) * chart(u) * D(chart(u), u) ** 2 / 2,
        ),
        equal("so w decays by an exponential, K′ = ½φ′²a²", D(decay, t), -D(exponent(t), t) * decay),
        negative("which is never 0", decay, -n * sp.exp(-exponent(t))),
        at_least("and the loss stays above ¼", loss_negative(a, w), sp.Rational(1, 4), a**2 * w**2 / 4),
    ),
)

THEOREMS = (
    THEOREM_5_1,
    THEOREM_5_2,
    THEOREM_5_4,
    UNBALANCED,
    BETA_LIMIT,
    SLIDING,
    ROUGH,
    METRIC,
    QUOTED_METRIC,
    INVARIANTS,
    SEPARABLE,
    LAYER_RATES,
    RATES_CONTAIN,
    UNIT_SPEED,
    EQUAL_CHARTS,
    HAM_FAMILY,
    SIGN_DESCENT,
    DECAY,
    MIRROR_STEP,
    SUPPORT,
    POPULATION,
    POPULATION_ND,
    MANY_INPUTS,
    EVEN_SIGN,
    BETA_STEPS,
    BETA_DECAY,
    ESCAPE,
)
