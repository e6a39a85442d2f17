"""Sign flips as pictures: by epoch and by layer, one colour for one arm.

It reads rows that runs left and counts nothing itself.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import mean_interval
from figures.style import ARMS, COLUMN, PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]


def flips_figure(rows: Rows) -> "Figure":
    """Three panels for one network: flips since init and since the previous epoch by epoch, and by layer at the end.

    rows: one a layer (and "total"), arm, seed and epoch; shares in [0, 1] in `since_init` and `since_previous`.
    """
    from matplotlib import pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(PAGE, COLUMN * 0.68))
    total = [row for row in rows if row["layer"] == "total"]
    draw_flips_by_epoch(left, total, "since_init")
    left.set_ylabel("flipped since init (%)")
    draw_flips_by_epoch(middle, total, "since_previous")
    middle.set_ylabel("flipped since last epoch (%)")
    last = max(row["epoch"] for row in rows)
    draw_flips_by_layer(right, [row for row in rows if row["layer"] != "total" and row["epoch"] == last])
    left.legend()
    return figure


def _seeds_by(rows: Rows, key: str, column: str) -> dict[str, list[float]]:
    """Values of column gathered by key, in order of first appearance."""
    gathered: dict[str, list[float]] = {}
    for row in rows:
        gathered.setdefault(row[key], []).append(float(row[column]))
    return gathered


def draw_flips_by_epoch(axes: "Axes", rows: Rows, column: str) -> None:
    """Share of active weights that flipped (column `since_init` or `since_previous`) against epochs, in percent.

    rows: one a network, arm, seed and epoch (layer = "total"); lines are means over seeds, bands 95 % intervals.
    """
    for arm in dict.fromkeys(row["arm"] for row in rows):
        gathered = _seeds_by([row for row in rows if row["arm"] == arm], "epoch", column)
        epochs = [int(epoch) for epoch in gathered]
        intervals = [mean_interval(100 * np.array(values)) for values in gathered.values()]
        axes.plot(epochs, [i.mean for i in intervals], color=ARMS[arm], label=arm)
        axes.fill_between(
            epochs, [i.low for i in intervals], [i.high for i in intervals], color=ARMS[arm], alpha=0.2, lw=0
        )
    axes.set(xlabel="epoch", ylim=(0, None))


def draw_flips_by_layer(axes: "Axes", rows: Rows) -> None:
    """Share flipped since init at the last epoch, layer by layer from input to output, in percent.

    rows: one a layer, arm and seed, in the network's order.
    """
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for i, arm in enumerate(arms):
        gathered = _seeds_by([row for row in rows if row["arm"] == arm], "layer", "since_init")
        intervals = [mean_interval(100 * np.array(gathered[layer])) for layer in layers]
        means = np.array([interval.mean for interval in intervals])
        half = means - np.array([interval.low for interval in intervals])
        x = np.arange(len(layers)) + (i - (len(arms) - 1) / 2) * 0.2
        axes.errorbar(x, means, yerr=half, fmt="o", color=ARMS[arm], label=arm)
    axes.set_xticks(range(len(layers)), [layer.removesuffix(".weight") for layer in layers], rotation=30, ha="right")
    axes.set(ylabel="flipped since init (%)", ylim=(0, None))
