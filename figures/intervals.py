"""Arms side by side: every seed a dot, the mean with its 95 % interval beside them.

It draws any measured number: accuracy, maximum Hessian eigenvalue, share of flips.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from commons.statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_intervals(
    axes: "Axes",
    values: Mapping[str, Sequence[float]],
    colours: Mapping[str, str],
    label: str,
    reference: float | None = None,
) -> None:
    """Draw values[name] (one a seed) in horizontal rows from top to bottom; reference is a dashed line."""
    for row, (name, seeds) in enumerate(values.items()):
        interval = mean_interval(seeds)
        colour = colours.get(name, "#0072B2")
        axes.plot(seeds, np.full(len(seeds), row - 0.18), "o", ms=2, color=colour, alpha=0.5, mew=0)
        half = interval.high - interval.mean
        axes.errorbar(interval.mean, row, xerr=half if np.isfinite(half) else None, fmt="o", color=colour)
    if reference is not None:
        axes.axvline(reference, color="black", lw=0.6, ls="--")
    axes.set_yticks(range(len(values)), list(values))
    axes.set(xlabel=label, ylim=(len(values) - 0.5, -0.6))
