"""Bars for benchmarks: one panel a quantity, the same names from top to bottom, the number at the end of each bar."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from figures.style import COLOURS, SMALLEST, grid_of, lettered

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bars_figure(panels: Mapping[str, Mapping[str, float]], *, logarithmic: bool = False) -> "Figure":
    """panels: by title, a value for each name. logarithmic: the first panel spans decades."""
    names = list(dict.fromkeys(name for values in panels.values() for name in values))
    figure, grid = grid_of(len(panels), "double", 0.2 * len(names) + 0.9, sharey=True)
    for i, (axes, (title, values)) in enumerate(zip(grid, panels.items(), strict=True)):
        known = [(place, values[name]) for place, name in enumerate(names) if name in values]
        places, numbers = zip(*known, strict=True)
        bars = axes.barh(places, numbers, height=0.62, color=COLOURS[i], label=title)
        axes.bar_label(bars, [f"{number:.3g}" for number in numbers], padding=2, fontsize=SMALLEST)
        axes.set_xlabel(textwrap.fill(title, 30))
        if logarithmic and i == 0:
            axes.set_xscale("log")
        axes.margins(x=0.14)
    grid[0].set_yticks(range(len(names)), names)
    grid[0].invert_yaxis()
    lettered(grid, ["" for _ in panels])
    return figure
