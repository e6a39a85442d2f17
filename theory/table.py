"""One table of all flows: metric, what is conserved, the basin in a < 0 < w, the balanced line, and the share."""

from typing import NamedTuple

from theory.flows import HAM, Flow, LayerRates, Power, SignDescent, SignIn, SignInSignDescent, Standard, UnitSpeed
from theory.probability import quadrant_share

ENERGY = "E_w(w) > E_a(a)"


class Words(NamedTuple):
    """What the table says of one kind of flow; n stands for |a| in the basin of a < 0 < w.

    balanced: "saddle" where every start with |a| = w ends there, else what makes all of them recover.
    """

    metric: str
    conserved: str
    basin: str
    balanced: str


WORDS: dict[type[Flow], Words] = {
    Standard: Words("1", "a² − w²", "w > n", "saddle"),
    LayerRates: Words("η", "a²/η_a − w²/η_w", "w²/η_w > n²/η_a", "iff η_a > η_w"),
    SignIn: Words("S(θ) = √(4θ² + β²)", "S_a(a) − S_w(w)", "S_w(w) − β_w > S_a(n) − β_a", "iff β_a > β_w"),
    UnitSpeed: Words(
        "S(θ)/β", "β_a S_a(a)/2 − β_w S_w(w)/2", "β_w (S_w(w) − β_w) > β_a (S_a(n) − β_a)", "iff β_w > β_a"
    ),
    HAM: Words("1 + α|θ|", "E_a(a) − E_w(w), E = (2/α)(|θ| − ln(1 + α|θ|)/α)", "E_w(w) > E_a(n)", "iff α_a > α_w"),
    SignDescent: Words("1", "|a|^q − |w|^q", "w > n", "saddle"),
    SignInSignDescent: Words(
        "Z(θ) = √(4|θ|^q + λ²)", "Z_a(a) − Z_w(w)", "Z_w(w) − λ_w > Z_a(n) − λ_a", "iff λ_a > λ_w"
    ),
    Power: Words("1; p²|w|^{2 − 2/p}", "a² − |w|^{2/p}/p", "w^{2/p}/p > n²", "iff p w^{2 − 2/p} < 1"),
}
FLOWS_SHOWN: tuple[Flow, ...] = (
    Standard(),
    LayerRates(1.0, 0.25),
    SignIn(1.0, 0.25),
    SignIn(1.0, 1.0),
    UnitSpeed(1.0, 0.25),
    UnitSpeed(0.25, 1.0),
    HAM(2.0, 8.0),
    HAM(8.0, 2.0),
    SignDescent(),
    SignInSignDescent(1.0, 0.25),
    SignDescent(1.5),
)


def table(flows: tuple[Flow, ...] = FLOWS_SHOWN, extent: float = 2.0) -> list[dict[str, str]]:
    """One row a flow; the share is that of the starts a < 0 < w in [−extent, extent]² which recover, by quadrature."""
    rows = []
    for flow in flows:
        words = WORDS.get(type(flow)) or Words(
            f"{flow.a.formula('a')}; {flow.w.formula('w')}", "E_a(a) − E_w(w)", ENERGY, "see its separatrix"
        )
        rows.append(
            {
                "flow": flow.label,
                "metric g(θ)": words.metric,
                "conserved": words.conserved,
                "basin, n = −a": words.basin,
                "on the balanced line": words.balanced,
                f"share in [−{extent:g}, {extent:g}]²": f"{quadrant_share(flow, extent).value:.4f}",
            }
        )
    return rows
