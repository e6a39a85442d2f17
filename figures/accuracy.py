"""Accuracy against sparsity: ours in the first panel, and each published setting in one of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.published import RANDOM_MASK
from figures.style import ARMS, PAGE, lettered

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OURS = {"plain": "random", "Sign-In": "sign-in"}  # arms of ours whose look is that of a known arm


@dataclass(frozen=True)
class Series:
    """One arm: its name, and (sparsity in percent, accuracy in percent, half of its 95 % interval) for each point."""

    name: str
    points: tuple[tuple[float, float, float], ...]


def accuracy_figure(ours: Sequence[Series]) -> "Figure":
    """ours: arms of one setting. The published numbers are means without intervals, so their marks are open."""
    from matplotlib import pyplot as plt

    settings = list(dict.fromkeys(name.rsplit(", ", 1)[0] for name in RANDOM_MASK.rows))
    figure, panels = plt.subplots(1, 1 + len(settings), figsize=(PAGE, PAGE * 0.3))
    for series in ours:
        style = ARMS[OURS.get(series.name, "ham")]
        x, y, half = zip(*series.points, strict=True)
        panels[0].errorbar(x, y, half, color=style.colour, marker=style.marker, ls=style.dashes, label=series.name)
    for axes, setting in zip(panels[1:], settings, strict=True):
        for arm, look in (("random", "random"), ("random + Sign-In", "sign-in")):
            style = ARMS[look]
            sparsities = [float(column.split()[0]) for column in RANDOM_MASK.columns]
            form = {"color": style.colour, "marker": style.marker, "ls": style.dashes, "mfc": "none"}
            axes.plot(sparsities, RANDOM_MASK.rows[f"{setting}, {arm}"], label=f"{arm}, published", **form)
    for axes in panels:
        axes.set_xlabel("sparsity (%)")
    panels[0].set_ylabel("test accuracy (%)")
    panels[0].legend(loc="lower left")
    panels[1].legend(loc="lower left", fontsize="x-small")
    lettered(list(panels), ["digits, here", *(setting.replace(", ", "\n", 1) for setting in settings)])
    return figure
