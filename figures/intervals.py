"""Arms side by side: every seed is a dot, and the mean stands with its 95 % interval beside them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from commons.statistics import mean_interval
from figures.style import COLOURS, SMALLEST, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_intervals(
    axes: "Axes",
    values: Mapping[str, Sequence[float]],
    looks: Mapping[str, Style],
    label: str,
    reference: float | None = None,
) -> None:
    """Draw values[name] (one a seed) in horizontal rows from top to bottom; reference is a dashed line.

    looks: a style for a name; the others have the first colour.
    """
    for row, (name, seeds) in enumerate(values.items()):
        interval = mean_interval(seeds)
        look = looks.get(name, Style(COLOURS[0]))
        axes.plot(
            seeds,
            np.full(len(seeds), row - 0.18),
            "o",
            ms=2,
            color=look.colour,
            alpha=0.5,
            mew=0,
            label=f"{name}, seeds",
        )
        half = interval.high - interval.mean
        xerr = half if np.isfinite(half) else None
        axes.errorbar(interval.mean, row, xerr=xerr, fmt=look.marker, color=look.colour, label=name)
    if reference is not None:
        axes.axvline(reference, color="black", lw=0.6, ls="--", label="reference")
    narrow = axes.get_figure(root=True).get_figwidth() < 4  # type: ignore[union-attr]
    names = ["\n".join(textwrap.fill(line, 26) for line in name.splitlines()) if narrow else name for name in values]
    axes.set_yticks(range(len(values)), names, fontsize=SMALLEST if narrow else None)
    axes.set(xlabel=label, ylim=(len(values) - 0.5, -0.6))
