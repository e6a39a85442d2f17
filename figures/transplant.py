"""The starts of a sparse run side by side, as a picture.

It trains nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.intervals import draw_intervals
from figures.style import PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def transplant_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Test accuracy of each start, the source's mean as a dashed line; rows: one a start and seed, the source first."""
    from matplotlib import pyplot as plt

    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["start"], []).append(row["test accuracy (%)"])
    figure, axes = plt.subplots(figsize=(PAGE * 0.75, 0.3 * len(values) + 0.6))
    source = float(np.mean(next(iter(values.values()))))
    draw_intervals(axes, values, {}, "test accuracy (%)", reference=source)
    return figure
