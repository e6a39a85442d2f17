"""Sign flips as pictures: cumulative and per epoch against epochs, and by layer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import mean_interval
from figures.style import from_zero, grid_of, lettered, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]


def flips_figure(rows: Rows) -> "Figure":
    """Three panels for one network: flips since init and since the previous epoch by epoch, and by layer at the end.

    rows: one a layer (and "total"), arm, seed and epoch, as `signs` writes them to CSV; `since_init` and
    `since_previous` are shares in [0, 1], None or empty where nothing was compared. The two panels of flips since init
    have one scale.
    """
    figure, (left, middle, right) = grid_of(3, "double", 2.45)
    total = [row for row in rows if row["layer"] == "total"]
    draw_flips_by_epoch(left, total, "since_init")
    left.set_ylabel("flipped since init (%)")
    draw_flips_by_epoch(middle, total, "since_previous")
    middle.set_ylabel("flipped since last epoch (%)")
    last: dict[object, int] = {}
    for row in rows:
        run = (row["arm"], row["seed"])
        last[run] = max(int(row["epoch"]), last.get(run, 0))
    ends = [row for row in rows if int(row["epoch"]) == last[row["arm"], row["seed"]]]
    draw_flips_by_layer(right, [row for row in ends if row["layer"] != "total"])
    top = max(axes.get_ylim()[1] for axes in (left, right))
    for axes in (left, right):
        axes.set_ylim(0, top)
    lettered((left, middle, right), ("all layers", "all layers", "by layer, at the end"))
    if len({row["arm"] for row in rows}) > 1:
        middle.legend()
    return figure


def _seeds_by(rows: Rows, key: str, column: str) -> dict[str, list[float]]:
    """Values of column gathered by key, in order of first appearance; what has no value is left out."""
    gathered: dict[str, list[float]] = {}
    for row in rows:
        if row[column] not in (None, ""):
            gathered.setdefault(str(row[key]), []).append(float(row[column]))
    return gathered


def draw_flips_by_epoch(axes: "Axes", rows: Rows, column: str) -> None:
    """Share of active weights that flipped (column `since_init` or `since_previous`) against epochs, in percent.

    rows: one a network, arm, seed and epoch (layer = "total"); lines are means over seeds, bands 95 % intervals. Where
    lines lie on each other, their dashes and their widths tell them apart.
    """
    for arm, style in styles(row["arm"] for row in rows).items():
        gathered = _seeds_by([row for row in rows if row["arm"] == arm], "epoch", column)
        epochs = sorted(gathered, key=int)
        intervals = [mean_interval(100 * np.array(gathered[epoch])) for epoch in epochs]
        x, means = [int(epoch) for epoch in epochs], [i.mean for i in intervals]
        axes.plot(x, means, color=style.colour, ls=style.dashes, lw=style.width, label=arm)
        if all(i.n > 1 for i in intervals):
            low, high = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(x, low, high, color=style.colour, alpha=0.2, lw=0).set_label(f"_{arm}, interval")
    axes.set_xlabel("epoch")
    from_zero(axes)


def draw_flips_by_layer(axes: "Axes", rows: Rows) -> None:
    """Share flipped since init at the last epoch, layer by layer from input to output, in percent.

    rows: one a layer, arm and seed, in the network's order.
    """
    arms = styles(row["arm"] for row in rows)
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    for i, (arm, style) in enumerate(arms.items()):
        gathered = _seeds_by([row for row in rows if row["arm"] == arm], "layer", "since_init")
        places = np.array([k for k, layer in enumerate(layers) if layer in gathered])
        intervals = [mean_interval(100 * np.array(gathered[layers[k]])) for k in places]
        half = [interval.high - interval.mean if interval.n > 1 else 0.0 for interval in intervals]
        x = places + (i - (len(arms) - 1) / 2) * 0.2
        means = [interval.mean for interval in intervals]
        axes.errorbar(x, means, yerr=half, fmt=style.marker, color=style.colour, label=arm)
    axes.set_xticks(range(len(layers)), [layer.removesuffix(".weight") for layer in layers], rotation=30, ha="right")
    axes.set_ylabel("flipped since init (%)")
    from_zero(axes)
