"""Phase diagrams of the single neuron: outcome by colour, the flow, sample paths, and the exact separatrix on top.

The outcomes were integrated by dynamics/; the separatrix is the one that theory/ states.
"""

import re
from typing import TYPE_CHECKING

import numpy as np
import sympy as sp

from dynamics import Outcome, PhaseDiagram, differences, sample_paths
from figures.style import COLUMN, PAGE
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
GREEK = {"α": r"\alpha", "β": r"\beta", "η": r"\eta", "λ": r"\lambda"}
DIFFERENCES = {3: ("both recover", "#9CCFE8"), 0: ("neither", "#F6D9B8"), 1: ("only the first", "#0072B2")}
DIFFERENCES |= {2: ("only the second", "#D55E00"), -1: ("undecided", "#BBBBBB")}
LABELS = {outcome: outcome.name.lower() for outcome in Outcome}


def phase_figure(diagram: PhaseDiagram) -> "Figure":
    """The diagram of one flow at column width, with everything that its settings say."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * 1.1))
    draw_phase_diagram(axes, diagram)
    return figure


def comparison_figure(first: PhaseDiagram, second: PhaseDiagram) -> "Figure":
    """Two diagrams of the same starts at page width, and beside them the set where they differ."""
    from matplotlib import pyplot as plt
    from matplotlib.colors import to_rgb

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(PAGE, PAGE * 0.42), layout="constrained")
    for axes, diagram in ((left, first), (middle, second)):
        draw_phase_diagram(axes, diagram)
        axes.set_title(f"{mathematics(diagram.label)}\nexact basin: {diagram.agreement:.2%} agree")
    code = differences(first, second)
    picture = np.zeros((*code.shape, 3))
    for kind, (_, colour) in DIFFERENCES.items():
        picture[code == kind] = to_rgb(colour)
    _draw_cells(right, picture, first.a, first.w)
    present = [entry for kind, entry in DIFFERENCES.items() if (code == kind).any()]
    _add_legend(right, [colour for _, colour in present], [text for text, _ in present], columns=2)
    for diagram, colour in ((first, DIFFERENCES[1][1]), (second, DIFFERENCES[2][1])):
        for edge_a, edge_w in diagram.edge:
            right.plot(edge_a, edge_w, color=colour, lw=1.2)
    _frame(right, float(first.a[-1]))
    only = [(code == kind).mean() for kind in (1, 2)]
    right.set_title(f"only the first: {only[0]:.2%} of all starts\nonly the second: {only[1]:.2%}")
    return figure


def draw_outcomes(axes: "Axes", outcome: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Colour each cell of outcome (X, Y), codes of Outcome, at the axes' values x (X,) and y (Y,); add a legend."""
    from matplotlib.colors import to_rgb

    palette = np.zeros((max(Outcome) + 1, 3))
    for kind, colour in COLOURS.items():
        palette[kind] = to_rgb(colour)
    _draw_cells(axes, palette[outcome], x, y)
    present = [kind for kind in Outcome if (outcome == kind).any()]
    _add_legend(axes, [COLOURS[kind] for kind in present], [LABELS[kind] for kind in present], len(present))


def _draw_cells(axes: "Axes", picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    """Draw colours (X, Y, RGB) as cells at the values x (X,) and y (Y,)."""
    edges = (*_outer(x), *_outer(y))
    axes.imshow(picture.swapaxes(0, 1), origin="lower", extent=edges, aspect="auto", interpolation="nearest")


def _add_legend(axes: "Axes", colours: list[str], labels: list[str], columns: int) -> None:
    """Name colours below the axes."""
    from matplotlib.patches import Patch

    axes.legend(
        handles=[Patch(color=colour, label=label) for colour, label in zip(colours, labels, strict=True)],
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=columns, handlelength=1, columnspacing=1,
    )  # fmt: skip


def _frame(axes: "Axes", extent: float) -> None:
    axes.axhline(0, color="black", lw=0.4)
    axes.axvline(0, color="black", lw=0.4)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), xlabel="$a_0$", ylabel="$w_0$", aspect="equal")


def draw_phase_diagram(axes: "Axes", diagram: PhaseDiagram) -> None:
    """Draw an (a₀, w₀) diagram: outcomes, the exact edge of the basin, and if its flow is known arrows and paths."""
    extent = float(diagram.a[-1])
    draw_outcomes(axes, diagram.outcome, diagram.a, diagram.w)
    if diagram.flow is not None:
        _draw_flow(axes, diagram.flow, extent)
    for edge_a, edge_w in diagram.edge:
        axes.plot(edge_a, edge_w, color="black", lw=1.4)
    _frame(axes, extent)
    agreement = f"exact basin: {diagram.agreement:.2%} of {diagram.outcome.size:,} starts agree"
    axes.set_title(f"{mathematics(diagram.label)}\n{agreement}")


def mathematics(label: str) -> str:
    """The label of a flow, with its Greek letters and their indices set as mathematics."""
    return re.sub(r"([αβηλ])_(\w)", lambda found: f"${GREEK[found[1]]}_{found[2]}$", label)


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
