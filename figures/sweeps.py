"""A rate over two settings as a heat map: what `python -m dynamics` saves besides phase diagrams."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dynamics import Sweep
from figures.phase_diagrams import mathematics
from figures.style import grid_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 12  # settings along an axis that are drawn as named categories, since such lists are seldom evenly spaced


def sweep_figure(sweep: Sweep) -> "Figure":
    """The share of starts that recover, in [0, 1], by colour; the flow and the widest Wilson interval in the title."""
    figure, (axes,) = grid_of(1, "single", 3.2)
    draw_sweep(axes, sweep)
    return figure


def draw_sweep(axes: "Axes", sweep: Sweep) -> None:
    """Draw a sweep into given axes, with a colour bar beside them."""
    edges = [_edges(values) for values in (sweep.x, sweep.y)]
    mesh = axes.pcolormesh(*edges, sweep.rate.T, vmin=0, vmax=1, cmap="cividis")
    axes.figure.colorbar(mesh, ax=axes, label="share that recovers")
    for axis, values in ((axes.xaxis, sweep.x), (axes.yaxis, sweep.y)):
        if len(values) <= FEW:
            axis.set_ticks(np.arange(len(values)), [f"{round(value, 3):g}" for value in values])
    if len(sweep.x) <= FEW:
        axes.tick_params(axis="x", rotation=60)
    if "y_labels" in sweep.settings:  # what the numbers of y stand for
        axes.set_yticks(np.arange(len(sweep.y)), sweep.settings["y_labels"])
    axes.set(xlabel=sweep.x_name, ylabel=sweep.y_name)
    if "edge" in sweep.settings:  # where the theory puts the boundary
        axes.plot(*sweep.settings["edge"], color="black", lw=1.4)
        axes.set(xlim=(edges[0][0], edges[0][-1]), ylim=(edges[1][0], edges[1][-1]))
    half = float((sweep.high - sweep.low).max()) / 2
    flow = sweep.settings.get("flow", {}).get("label", "")
    title = f"{sweep.title}\n{mathematics(flow)}" if flow else sweep.title
    axes.set_title(f"{title}\n95 % intervals within ± {half:.2f}", loc="left")


def _edges(values: NDArray[np.float64]) -> list[float]:
    """Edges of the cells around values: of their indices where they are few, else midway between neighbours."""
    centres = np.arange(len(values)) if len(values) <= FEW else values
    if len(centres) == 1:
        return [-0.5, 0.5]
    inner = (centres[1:] + centres[:-1]) / 2
    return [2 * centres[0] - inner[0], *inner, 2 * centres[-1] - inner[-1]]
