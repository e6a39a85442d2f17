"""How often each flow recovers random starts a < 0 < w: at its own speeds, and with the layers' mean speeds made equal.

Layers that move at different speeds decide a start by themselves, without any geometry. So each flow is integrated a
second time with a learning rate for each layer, such that g has the mean 1 over the starts in both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from commons import number
from dynamics.results import Report, Sweep
from dynamics.sweeps import Axis, swept
from dynamics.trajectories import integrate
from theory import recovers
from theory.flows import HAM, ChartFlow, Flow, LayerRates, SignDescent, SignIn, SignInSignDescent, Standard, UnitSpeed
from theory.metrics import Scaled

Array = NDArray[np.float64]
LAWS = ("balanced", "Gaussian")
SCALES = (0.05, 0.2, 0.5, 1.0, 2.0)


def flows_at(beta_a: float, beta_w: float) -> tuple[Flow, ...]:
    """Sign-In with (β_a, β_w) and its controls: plain, its rates at 0, its geometry alone, HAM's, and sign descent."""
    return (
        Standard(),
        LayerRates(beta_a, beta_w),
        SignIn(beta_a, beta_w),
        UnitSpeed(beta_a, beta_w),
        HAM(2 / beta_a, 2 / beta_w),
        SignDescent(),
        SignInSignDescent(beta_a, beta_w),
    )


def matched(flow: Flow, a: Array, w: Array) -> Flow:
    """The flow with a learning rate for each layer, such that the mean of g over the starts is 1 in both."""
    chart_a, chart_w = (Scaled(chart, 1 / float(chart.metric(x).mean())) for chart, x in ((flow.a, a), (flow.w, w)))
    return ChartFlow(chart_a, chart_w, flow.exponent)


def starts(law: str, scale: float, count: int, seed: int) -> tuple[Array, Array]:
    """Starts a < 0 < w of that scale, each (count,): |a| = w = scale·|x|, or independent normal a and w."""
    x = np.abs(np.random.default_rng(seed).normal(size=(2, count))) * scale
    return (-x[0], x[0].copy()) if law == "balanced" else (-x[0], x[1])


def geometry(
    *,
    beta_a: float = 1.0,
    beta_w: float = 0.25,
    count: int = 256,
    scales: Array | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> Sweep:
    """The share of random starts a < 0 < w that each flow of `flows_at` recovers, over their scale.

    The y of the sweep numbers each law of the starts, flow and kind of speeds: settings["y_labels"] names them, and
    settings["exact"] has the same shares by the exact basins. Balanced starts on the separatrix end in the saddle.

    report(done, of): called after each share.
    """
    number("starts", count, at_least=1, integer=True)
    number("seed", seed, at_least=0, integer=True)
    sizes = np.array(SCALES) if scales is None else scales
    flows = flows_at(beta_a, beta_w)
    labels, exact = [], []
    outcomes: list[list[NDArray[np.int8]]] = []
    for law in LAWS:
        for flow in flows:
            for speeds in ("own", "matched"):
                row, known = [], []
                for scale in sizes:
                    a, w = starts(law, float(scale), count, seed)
                    used = flow if speeds == "own" else matched(flow, a, w)
                    row.append(integrate(used, a, w).outcome)
                    known.append(float(recovers(a, w, used).mean()))
                    if report is not None:
                        report(len(outcomes) * len(sizes) + len(row), 2 * len(LAWS) * len(flows) * len(sizes))
                outcomes.append(row)
                exact.append(known)
                labels.append(f"{law}: {flow.label}, {speeds}")
    codes = np.asarray(outcomes).swapaxes(0, 1)  # (scales, flows, starts)
    settings = {
        "seed": seed,
        "beta_a": beta_a,
        "beta_w": beta_w,
        "y_labels": labels,
        "exact": np.transpose(exact).tolist(),
    }
    along = Axis("scale", sizes), Axis("flow", np.arange(len(labels), dtype=np.float64))
    return swept("random starts a < 0 < w", *along, codes, settings, ended=True)


def table(sweep: Sweep, law: str, scale: float = 1.0) -> list[dict[str, Any]]:
    """A row a flow, at the nearest scale: the shares at own and at matched speeds, integrated and exact."""
    at = int(np.abs(sweep.x - scale).argmin())
    rows: dict[str, dict[str, Any]] = {}
    for i, label in enumerate(sweep.settings["y_labels"]):
        drawn, flow, speeds = parts(label)
        if drawn == law:
            row = rows.setdefault(flow, {"flow": flow})
            row[f"{speeds} speeds"] = round(float(sweep.rate[at, i]), 4)
            row[f"{speeds} speeds, exact"] = round(float(sweep.settings["exact"][at][i]), 4)
    return list(rows.values())


def parts(label: str) -> tuple[str, str, str]:
    """Law, flow and speeds ("own" or "matched") of a label of `geometry`."""
    law, rest = label.split(": ", 1)
    flow, speeds = rest.rsplit(", ", 1)
    return law, flow, speeds
