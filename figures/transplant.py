"""The starts of a sparse run side by side, as a picture."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from figures.intervals import draw_intervals
from figures.style import PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def transplant_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Test accuracy of each start, with the mean of the source itself as a dashed line, a panel for each source.

    rows: one a source, start and seed, with the accuracy in percent, as `transplant` writes them to report.csv; the
    first start of a source is the source itself.
    """
    from matplotlib import pyplot as plt

    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        values.setdefault(row["source"], {}).setdefault(row["start"], []).append(float(row["accuracy"]))
    heights = [0.3 * len(starts) + 0.6 for starts in values.values()]
    figure, panels = plt.subplots(
        len(values), figsize=(PAGE * 0.75, sum(heights)), squeeze=False, height_ratios=heights
    )  # fmt: skip
    for axes, (source, starts) in zip(panels[:, 0], values.items(), strict=True):
        draw_intervals(
            axes, starts, {}, "test accuracy (%)", reference=float(np.mean(next(iter(starts.values()))))
        )  # fmt: skip
        if len(values) > 1:
            axes.set_title(source)
    return figure
