"""Where steps differ from the flow: β under SGD and weight decay, and the step that leaves the stuck half-plane.

Each law is of one update as it is run, or of the flow that it approximates.
"""

import sympy as sp

from theory.discrete import beta_after_steps, beta_under_weight_decay, escape_learning_rate
from theory.neuron import loss_negative
from theory.proof import Theorem, at_least, equal, negative, positive

a, w, m, g = sp.symbols("a w m g", real=True)
eta, lam, n, k, t, beta = sp.symbols("eta lambda n k t beta", positive=True)
D = sp.Derivative
above = loss_negative(a, w) - sp.Rational(1, 4)
decayed = beta * sp.exp(-2 * lam * t)
kept = 1 - eta * lam

BETA_STEPS = Theorem(
    name="beta, steps",
    title="The discrete law of β",
    hypotheses=(
        r"SGD without momentum, step $\eta$, coupled weight decay $\lambda$",
        r"$\theta = mw$, $g = \partial L/\partial\theta$ of the step's own batch",
    ),
    statement=r"Each step multiplies $\beta = m^2 - w^2$ by $(1 - \eta\lambda)^2 - \eta^2g^2$ exactly, without "
    r"decay by $1 - \eta^2g^2$. So $|\beta|$ shrinks whenever $0 < \eta|g| < \sqrt 2$, whatever the signs.",
    paper=r"SGD noise and weight decay shrink $\beta$, which is why it is reset.",
    differs="The factor is exact for every step, large ones included; the flow itself keeps β.",
    table=("β shrinks alike",) * 4,
    predict=beta_after_steps,
    steps=(
        equal("a step", (m - eta * g * w) ** 2 - (w - eta * g * m) ** 2, (1 - eta**2 * g**2) * (m**2 - w**2)),
        equal(
            "a step with decay",
            (kept * m - eta * g * w) ** 2 - (kept * w - eta * g * m) ** 2,
            (kept**2 - eta**2 * g**2) * (m**2 - w**2),
        ),
    ),
)

BETA_DECAY = Theorem(
    name="beta, decay",
    title="β under weight decay",
    hypotheses=(r"$\dot m = -wg - \lambda m,\ \dot w = -mg - \lambda w$",),
    statement=r"$\beta(t) = \beta(0)\,e^{-2\lambda t}$, for any loss.",
    paper=r"Weight decay shrinks $\beta$.",
    differs="The rate is given.",
    table=("β shrinks alike",) * 4,
    predict=beta_under_weight_decay,
    steps=(
        equal(
            "the gradient cancels",
            D(m**2, m) * (-w * g - lam * m) - D(w**2, w) * (-m * g - lam * w),
            -2 * lam * (m**2 - w**2),
        ),
        equal("and the exponential solves what is left", D(decayed, t), -2 * lam * beta * sp.exp(-2 * lam * t)),
    ),
)

step = w - eta * D(above, w)
landing = -n * (1 - eta * a**2 / 2)  # where a step from w = −n ends

ESCAPE = Theorem(
    name="escape",
    title="A large step crosses where the flow does not",
    hypotheses=(r"gradient descent with step $\eta$, $d = 1$, $w < 0$, $a \ne 0$",),
    statement=r"$w \leftarrow w(1 - \eta a^2/2)$: the step lands on $w > 0$ iff $\eta > 2/a^2$. While "
    r"$\eta w^2 \le 4$, $|a|$ never grows, so a start with $\eta \le 2/a_0^2$ and $\eta w_0^2 \le 4$ never crosses.",
    paper="Stated for the flow only.",
    differs="Discrete training is not bound by Theorem 5.4 beyond this step size.",
    table=("not applicable", "not applicable", "crosses iff η > 2/a²", "crosses iff η > 2/a²"),
    predict=escape_learning_rate,
    steps=(
        equal("one step", step, w * (1 - eta * a**2 / 2)),
        positive("η = (2 + k)/a² crosses", landing.subs({eta: (2 + k) / n**2, a: n}, simultaneous=True), n * k / 2),
        negative("η = (2 − k)/a² does not", landing.subs({eta: (2 - k) / n**2, a: n}, simultaneous=True), -n * k / 2),
        equal("a step of a", a - eta * D(above, a), a * (1 - eta * w**2 / 2)),
        at_least("does not grow |a| at ηw² = 4/(1 + k)", 1 - (1 - 2 / (1 + k)) ** 2, 0, 4 * k / (1 + k) ** 2),
    ),
)
