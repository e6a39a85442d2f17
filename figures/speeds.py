"""Speeds as pictures: of each layer of a run, the speed, the share of weights beyond β, β, and λ over the speed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from figures.style import grid_of, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANELS = {"mean": "speed", "above": "weights with 2|θ| > β (%)", "beta": "β", "decay": "λ / speed"}


def speeds_figure(epochs: Sequence[Mapping[str, Any]]) -> "Figure":
    """Four panels against epochs, a line a layer; the band of the first is from the 5 % to the 95 % quantile.

    epochs: the lines of a run's metrics.jsonl, with `speeds` (see sparse_training/reparam/speeds.py).
    """
    figure, panels = grid_of(len(PANELS), "double", 2.1, stacked=2)
    for layer, look in styles(name for line in epochs for name in line["speeds"]).items():
        lines = [(line["epoch"], line["speeds"][layer]) for line in epochs if layer in line["speeds"]]
        times = [epoch for epoch, _ in lines]
        for axes, key in zip(panels, PANELS, strict=True):
            known = [values[key] for _, values in lines if values[key] is not None]
            if len(known) == len(times):
                shown = [100 * value if key == "above" else value for value in known]
                axes.plot(times, shown, color=look.colour, ls=look.dashes, label=layer)
        low, high = ([values[name] for _, values in lines] for name in ("low", "high"))
        panels[0].fill_between(times, low, high, color=look.colour, alpha=0.2, lw=0)
    for axes, label in zip(panels, PANELS.values(), strict=True):
        axes.set(xlabel="epoch", ylabel=label)
    panels[0].legend()
    return figure
