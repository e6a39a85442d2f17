"""Phase diagrams of the single neuron: outcome by colour, the flow, sample paths, and the exact separatrix on top.

The outcomes were integrated by dynamics/; the separatrix is the one that theory/ states.
"""

import re
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from dynamics import Outcome, PhaseDiagram, sample_paths
from figures.style import COLUMN
from theory.flows import Flow
from theory.neuron import A, W, vector_field

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    Outcome.RECOVERED: "#9CCFE8",
    Outcome.SADDLE: "#000000",
    Outcome.STUCK: "#F6D9B8",
    Outcome.DIVERGED: "#CC79A7",
    Outcome.UNDECIDED: "#BBBBBB",
}
LABELS = {outcome: outcome.name.lower() for outcome in Outcome}


def phase_figure(diagram: PhaseDiagram) -> "Figure":
    """The diagram of one flow at column width, with everything that its settings say."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 1.1))
    draw_phase_diagram(axes, diagram)
    return figure


def draw_outcomes(axes: "Axes", outcome: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Colour each cell of outcome (X, Y), codes of Outcome, at the axes' values x (X,) and y (Y,); add a legend."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    palette = np.zeros((max(Outcome) + 1, 3))
    for kind, colour in COLOURS.items():
        palette[kind] = to_rgb(colour)
    edges = (*_outer(x), *_outer(y))
    axes.imshow(palette[outcome.T], origin="lower", extent=edges, aspect="auto", interpolation="nearest")
    present = [kind for kind in Outcome if (outcome == kind).any()]
    axes.legend(
        handles=[Patch(color=COLOURS[kind], label=LABELS[kind]) for kind in present],
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=len(present), handlelength=1, columnspacing=1,
    )  # fmt: skip


def draw_phase_diagram(axes: "Axes", diagram: PhaseDiagram) -> None:
    """Draw an (a₀, w₀) diagram: outcomes, the exact edge of the basin, and if its flow is known arrows and paths."""
    extent = float(diagram.a[-1])
    draw_outcomes(axes, diagram.outcome, diagram.a, diagram.w)
    if diagram.flow is not None:
        _draw_flow(axes, diagram.flow, extent)
    for edge_a, edge_w in diagram.edge:
        axes.plot(edge_a, edge_w, color="black", lw=1.4)
    axes.axhline(0, color="black", lw=0.4)
    axes.axvline(0, color="black", lw=0.4)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$a_0$", ylabel="$w_0$", aspect="equal")
    agreement = f"exact basin: {diagram.agreement:.2%} of {diagram.outcome.size:,} starts agree"
    label = re.sub(r"β_(\w)", r"$\\beta_\1$", diagram.label)
    axes.set_title(f"{label}\n{agreement}")


def _draw_flow(axes: "Axes", flow: Flow, extent: float) -> None:
    """Arrows of the flow on a coarse grid, and the paths of six starts."""
    coarse = np.linspace(-extent, extent, 17)[1:-1]
    a, w = np.meshgrid(coarse, coarse)
    with np.errstate(all="ignore"):  # a chart that is not regular has no arrows on w = 0
        da, dw = sp.lambdify((A, W), vector_field(flow), "numpy")(a, w)
    speed = np.hypot(da, dw)
    moving = np.isfinite(speed) & (speed > 1e-12)
    a, w, da, dw, speed = (values[moving] for values in (a, w, da, dw, speed))
    axes.quiver(
        a, w, da / speed, dw / speed,
        color="#00000055", scale=32, width=0.004, headwidth=4, pivot="mid",
    )  # fmt: skip

    starts = extent * np.array([(-0.45, 0.9), (-0.9, 0.5), (-0.9, -0.7), (0.6, -0.8), (0.15, 0.2), (0.9, 0.95)])
    paths_a, paths_w = sample_paths(
        flow, starts[:, 0], starts[:, 1], np.concatenate([[0], np.geomspace(1e-3, 60, 300)])
    )
    axes.plot(paths_a, paths_w, color="#D55E00", lw=0.8)
    axes.plot(starts[:, 0], starts[:, 1], "o", color="#D55E00", ms=2.5)


def _outer(centres: np.ndarray) -> tuple[float, float]:
    """The outer edges of cells whose centres these are, evenly spaced."""
    half = (centres[1] - centres[0]) / 2
    return float(centres[0] - half), float(centres[-1] + half)
