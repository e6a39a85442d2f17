"""Weight decay of the factors of θ = m·w: its pull, its equilibrium, which weights die, and how decay is matched."""

import sympy as sp

from theory.discrete import beta_under_weight_decay
from theory.proof import Theorem, equal, negative, positive

m, w, G, theta = sp.symbols("m w G theta", real=True)
beta, lam, eta, n, k, rate = sp.symbols("beta lam eta n k r", positive=True)
D = sp.Derivative
S = sp.sqrt(4 * theta**2 + beta**2)
dm, dw = -w * G - lam * m, -m * G - lam * w
root = sp.sqrt(4 * n**2 + beta**2)
penalty = lam / 2 * root

DECAY = Theorem(
    name="decay",
    title="Weight decay of the factors",
    hypotheses=(r"$\dot m = -wG - \lambda m$, $\dot w = -mG - \lambda w$, $G = \partial_\theta L$, $\lambda > 0$",),
    statement=r"Decay pulls $\theta$ by $-2\lambda\theta$ whatever $\beta$ is, and $\beta$ shrinks like "
    r"$e^{-2\lambda t}$. With $\beta$ held by resets, $\theta$ rests where $G = -2\lambda\theta/\sqrt{4\theta^2 + "
    r"\beta^2}$, as with the penalty $\frac{\lambda}{2}\sqrt{4\theta^2 + \beta^2}$: that is $\lambda|\theta|$ for "
    r"$\beta \ll |\theta|$, and $\lambda\theta^2/\beta$ and a constant for $\beta \gg |\theta|$; no weight dies. "
    r"Without resets a weight at 0 dies, both factors falling to 0, iff $|G| < \lambda$. A plain weight with decay "
    r"$\lambda$, factors with $\lambda/2$ and a layer at rate $r$ with $\lambda/r$ have the same free decay.",
    paper=r"Weight decay shrinks $\beta$, which is why it is reset.",
    differs="Says what a comparison must hold fixed: equal λ is twice the decay in the factors.",
    table=("the same for either sign of θ",) * 4,
    predict=beta_under_weight_decay,
    steps=(
        equal("θ moves by", D(m * w, m) * dm + D(m * w, w) * dw, -(m**2 + w**2) * G - 2 * lam * (m * w)),
        equal("and β by", D(m**2, m) * dm - D(w**2, w) * dw, -2 * lam * (m**2 - w**2)),
        equal("β held: the pull over the speed is a slope", D(lam / 2 * S, theta), 2 * lam * theta / S),
        equal("of λ|θ| and little more for small β", penalty - lam * n, lam * beta**2 / (2 * (root + 2 * n))),
        equal("of λθ²/β and a constant for large β", penalty - lam * beta / 2, 2 * lam * n**2 / (root + beta)),
        positive(
            "at θ = n it is below λ, so that any slope below λ but 0 holds a weight away from 0",
            lam - 2 * lam * n / root,
            lam * beta**2 / (root * (root + 2 * n)),
        ),
        equal("without resets m + w obeys", dm + dw, -(lam + G) * (m + w)),
        equal("and m − w", dm - dw, -(lam - G) * (m - w)),
        negative("which fall both where |G| = n is below λ = n + k", -((n + k) - n), -k),
        equal("a step of the factors at λ/2", (1 - eta * lam / 2) ** 2, 1 - eta * lam + eta**2 * lam**2 / 4),
        equal("and of a layer at rate r and decay λ/r", 1 - (eta * rate) * (lam / rate), 1 - eta * lam),
    ),
)
