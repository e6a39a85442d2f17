"""Speeds as pictures: of each layer of a run, the speed, the share of weights beyond β, β, and λ over the speed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.style import COLUMN, PAGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"mean": "speed", "above": "weights with 2|θ| > β (%)", "beta": "β", "decay": "λ / speed"}


def speeds_figure(epochs: Sequence[Mapping[str, Any]]) -> "Figure":
    """Four panels against epochs, a line a layer; the band of the first is from the 5 % to the 95 % quantile.

    epochs: the lines of a run's metrics.jsonl, with `speeds` (see sparse_training/reparam/speeds.py).
    """
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(PANELS), figsize=(PAGE, 0.62 * COLUMN))
    for layer in dict.fromkeys(name for line in epochs for name in line["speeds"]):
        lines = [(line["epoch"], line["speeds"][layer]) for line in epochs if layer in line["speeds"]]
        times = [epoch for epoch, _ in lines]
        for axes, key in zip(panels, PANELS, strict=True):
            known = [values[key] for _, values in lines if values[key] is not None]
            if len(known) == len(times):
                axes.plot(times, [100 * value if key == "above" else value for value in known], label=layer)
        ends = [[values[name] for _, values in lines] for name in ("low", "high")]
        panels[0].fill_between(times, *ends, color=panels[0].lines[-1].get_color(), alpha=0.2, lw=0)
    for axes, label in zip(panels, PANELS.values(), strict=True):
        axes.set(xlabel="epoch", ylabel=label)
    panels[0].legend()
    return figure
