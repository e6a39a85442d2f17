"""Where starts end beyond the numbered theorems: without balance, as β_a grows, on the kink, and with a rough chart.

Every statement is about one neuron with d = 1 under the gradient flow of the population loss.
"""

import numpy as np
import sympy as sp

from theory.flows import Power, SignIn, Standard
from theory.invariants import fate
from theory.neuron import loss_negative, loss_positive
from theory.proof import Theorem, at_least, equal, negative, positive

a, w, r, z = sp.symbols("a w r z", real=True)
n, b, c, k, q, t, y, y0, R, beta, g = sp.symbols("n b c k q t y y_0 R beta g", positive=True)
D = sp.Derivative
above = loss_negative(a, w) - sp.Rational(1, 4)
da, dw = -D(loss_positive(a, w), a), -D(loss_positive(a, w), w)  # the standard flow on w > 0
limit = 2 + R  # of y = (a + w)², R = √(4 + c²)
tau = sp.tanh(R * t / 4)
growth = (R * y0 + tau * (2 * y0 + R**2 - 4)) / (R + tau * (y0 - 2))
fall = n / ((1 + n) * sp.exp(t) - n)  # w² on a = −w from w² = n

UNBALANCED = Theorem(
    name="unbalanced",
    title="The standard flow without balance",
    hypotheses=(r"$d = 1$, standard flow, any $(a_0, w_0)$",),
    statement=r"The teacher is recovered iff $w_0 > 0$ and $a_0 + w_0 > 0$. On $w > 0$, $y = (a + w)^2$ obeys "
    r"$\dot y = -\frac14(y - y_+)(y - y_-)$, $y_\pm = 2 \pm \sqrt{4 + c^2}$, $c = a^2 - w^2$, explicit in $\tanh$. "
    r"From $a_0 + w_0 < 0 < w_0$ the flow meets $w = 0$ in finite time and is stuck; from $a_0 = -w_0$ it tends to "
    r"the saddle, never arriving.",
    paper=r"The standard flow recovers the teacher only from $a > 0$, $w > 0$.",
    differs="That needs a₀² = w₀²: without balance half of the quadrant a < 0 < w recovers as well.",
    table=("recovers", "recovers iff a₀ + w₀ > 0", "never recovers", "never recovers"),
    predict=lambda a0, w0: fate(a0, w0, Standard()),
    steps=(
        equal("growth of a + w", da + dw, (1 - a * w) / 2 * (a + w)),
        equal("z = aw from y and c", 4 * a * w, (a + w) ** 2 - (a**2 - w**2) ** 2 / (a + w) ** 2),
        equal("so y is logistic", y * (1 - (y - (R**2 - 4) / y) / 4), -(y - 2 - R) * (y - 2 + R) / 4),
        equal("solved by tanh", D(growth, t), -(growth - 2 - R) * (growth - 2 + R) / 4),
        equal(
            "from y₀, which the ratio shows",
            (growth - 2 - R) / (growth - 2 + R),
            (y0 - 2 - R) / (y0 - 2 + R) * (1 - tau) / (1 + tau),
        ),
        equal("to y₊", sp.Limit(growth, t, sp.oo), limit),
        equal("where aw = 1", (limit - (R**2 - 4) / limit) / 4, 1),
        positive(
            "a + w > 0: y passes no c, so w stays positive",
            2 + sp.sqrt(4 + c**2) - c,
            2 + 4 / (sp.sqrt(4 + c**2) + c),
        ),
        equal(
            "a + w < 0: w = (c − y)/2√y falls to 0 as y passes c",
            ((a**2 - w**2) - (a + w) ** 2).subs(a, -n - w) / (2 * n),
            w,
        ),
        equal("a + w = 0: w² obeys", sp.Subs(D(w**2, w) * dw, a, -w), -(w**2) * (1 + w**2)),
        equal("which is solved by", D(fall, t), -fall * (1 + fall)),
        equal("from n, which 1/w² + 1 shows", 1 / fall + 1, (1 / n + 1) * sp.exp(t)),
        equal(
            "so it falls like e^{−t} and never is 0",
            sp.Limit((fall * sp.exp(t) - n / (1 + n)) * sp.exp(t), t, sp.oo),
            n**2 / (1 + n) ** 2,
        ),
    ),
)

threshold = sp.sqrt(4 * n**2 + beta**2)

BETA_LIMIT = Theorem(
    name="beta to infinity",
    title="The basin as β_a grows",
    hypotheses=(r"Sign-In, $d = 1$, $a_0 < 0 < w_0$, $\beta_w > 0$ fixed",),
    statement=r"The basin grows with $\beta_a$: every $w_0 > 0$ recovers once "
    r"$\beta_a \ge 2a_0^2/(S_w(w_0) - \beta_w)$. As $\beta_a \to \infty$ the basin tends to the half-plane "
    r"$w_0 > 0$, the most that Theorem 5.4 allows.",
    paper=r"$\beta_1 > \beta_2$ suffices.",
    differs="Says how much of the quadrant a given β_a covers when the start is not balanced.",
    table=("recovers", "recovers for β_a large enough", "never recovers", "never recovers"),
    predict=lambda a0, w0, beta_a, beta_w: fate(a0, w0, SignIn(beta_a, beta_w)),
    steps=(
        negative(
            "what a < 0 demands shrinks as β_a grows",
            D(threshold - beta, beta),
            -4 * n**2 / (threshold * (threshold + beta)),
        ),
        negative(
            "it is below 2a²/β_a",
            threshold - beta - 2 * n**2 / beta,
            -4 * n**4 / (beta**2 * (threshold + beta + 2 * n**2 / beta)),
        ),
        equal("and tends to that", sp.Limit(beta * (threshold - beta), beta, sp.oo), 2 * n**2),
        positive("what w > 0 offers is positive", threshold - beta, 4 * n**2 / (threshold + beta)),
    ),
)

SLIDING = Theorem(
    name="sliding",
    title="The kink w = 0",
    hypotheses=(r"$d = 1$, charts with $g > 0$",),
    statement=r"For $a < 0$ the line $w = 0$ attracts from both sides and every point of it is at rest (a sliding "
    r"mode of speed 0): the neuron is stuck at $L = \frac14$. For $a > 0$ it repels on $w > 0$ and attracts from "
    r"$w < 0$, in infinite time.",
    paper="Not discussed.",
    differs="It is how a start with a < 0 fails: it does not end in the saddle unless it is on the separatrix.",
    table=("w = 0 repels", "w = 0 attracts, in finite time", "w = 0 attracts", "w = 0 attracts"),
    predict=lambda a: np.where(np.less(a, 0), "attracts", np.where(np.greater(a, 0), "repels", "rests")),
    steps=(
        negative("a = −b, w = n: falls", sp.Subs(g * dw, (a, w), (-b, n)), -g * b * (1 + b * n) / 2),
        positive("a = −b, w = −n: rises", sp.Subs(-g * D(above, w), (a, w), (-b, -n)), g * b**2 * n / 2),
        equal("sliding: ȧ vanishes with w, w > 0", g * da, g * w * (1 - a * w) / 2),
        equal("sliding: ȧ vanishes with w, w < 0", -g * D(above, a), -g * a * w**2 / 2),
        equal("at loss ¼", loss_negative(a, w), sp.Rational(1, 4) * (1 + (a * w) ** 2)),
        positive(
            "a = b, aw = 1/(1 + k): repels",
            sp.Subs(g * dw, (a, w), (b, 1 / (b * (1 + k)))),
            g * b * k / (2 * (1 + k)),
        ),
        positive("a = b, w = −n: rises", sp.Subs(-g * D(above, w), (a, w), (b, -n)), g * b**2 * n / 2),
    ),
)

p = 1 / (1 + q)  # any p in (0, 1)
s = sp.Symbol("s", positive=True)
order = sp.Symbol("p", positive=True)
left = above.subs(w, -(s**order))  # the loss above ¼ at u = −s
speed = -D(left, s)  # of s = |u| towards 0
right = loss_positive(a, s**order)

ROUGH = Theorem(
    name="p < 1",
    title="A chart that is continuous but not C¹ crosses",
    hypotheses=(r"$w = \mathrm{sign}(u)|u|^p$, $0 < p < 1$, $a$ as it is, $d = 1$, $w_0 < 0$",),
    statement=r"If $a_0 > 0$ and $a_0^2 > |w_0|^{2/p}/p$, the flow reaches $w = 0$ within "
    r"$|u_0|^{2-2p}/(p(1-p)(a_0^2 - |w_0|^{2/p}/p))$ and descends on through $w > 0$ to the teacher; otherwise it "
    r"never does. $p = 1$ is the exact threshold: for $p \ge 1$ the chart is $C^1$ and Theorem 5.4 holds.",
    paper=r"No continuous reparametrization recovers from $w < 0$.",
    differs="Continuity is not enough. At w = 0 the chart has no derivative: the flow goes on by steepest descent, "
    "whose slope there is infinite, so it leaves at once (staying put is no curve of maximal slope).",
    table=("recovers", "recovers iff w₀^{2/p}/p > a₀²", "recovers iff a₀² > |w₀|^{2/p}/p", "never recovers"),
    predict=lambda a0, w0, p: fate(a0, w0, Power(p)),
    steps=(
        equal("speed of |u|", speed, -order * a**2 * s ** (2 * order - 1) / 2),
        equal("a² − |u|²/p is kept", D(a**2, a) * -D(left, a) - D(s**2 / order, s) * speed, 0),
        equal(
            "|u|^{2 − 2p} falls at a rate set by a",
            D(s ** (2 - 2 * order), s) * speed,
            -order * (1 - order) * a**2,
        ),
        at_least(
            "which on the orbit c > 0 stays above p(1 − p)c",
            p * (1 - p) * (c + s**2 / p),
            p * (1 - p) * c,
            (1 - p) * s**2,
        ),
        positive(
            "beyond, at a = b and aw = 1/(1 + k), u rises",
            sp.Subs(-D(right, s), a, 1 / ((1 + k) * s**order)),
            order * k / (2 * (1 + k) ** 2 * s),
        ),
        equal("and z = aw rises to 1", a * dw * g + w * da, (1 - a * w) * (a**2 * g + w**2) / 2),
        equal(
            "c = 0: |u|^{−2p} grows at a constant rate",
            sp.Subs(D(s ** (-2 * order), s) * speed, a, s / sp.sqrt(order)),
            order,
        ),
    ),
)
