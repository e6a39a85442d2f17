"""Maximum Hessian eigenvalues of trained networks as a picture.

It measures no curvature.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.intervals import draw_intervals
from figures.style import ARMS, COLUMN

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sharpness_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """The largest Hessian eigenvalue of each arm; rows: one an arm and seed."""
    from matplotlib import pyplot as plt

    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["arm"], []).append(row["largest Hessian eigenvalue"])
    figure, axes = plt.subplots(figsize=(COLUMN, 0.4 * len(values) + 0.6))
    draw_intervals(axes, values, ARMS, "largest Hessian eigenvalue")
    return figure
