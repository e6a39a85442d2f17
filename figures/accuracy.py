"""Accuracy against sparsity: ours in the first panel, and each published setting in one of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from figures.published import RANDOM_MASK, SETTINGS
from figures.style import ARMS, column, grid_of, lettered

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
    figure, panels = grid_of(1 + len(SETTINGS), "double", 2.1, stacked=2)
    for series in ours:
        style = ARMS[OURS.get(series.name, "ham")]
        x, y, half = zip(*series.points, strict=True)
        panels[0].errorbar(x, y, half, color=style.colour, marker=style.marker, ls=style.dashes, label=series.name)
    for axes, setting in zip(panels[1:], SETTINGS, strict=True):
        for arm, look in (("random", "random"), ("random + Sign-In", "sign-in")):
            style = ARMS[look]
            sparsities = [float(column.split()[0]) for column in RANDOM_MASK.columns]
            form = {"color": style.colour, "marker": style.marker, "ls": style.dashes, "mfc": "none"}
            axes.plot(sparsities, RANDOM_MASK.rows[f"{setting}, {arm}"], label=f"{arm}, published", **form)
    for axes in panels:
        axes.set_xlabel("sparsity (%)")
    panels[0].set_ylabel("test accuracy (%)")
    entries = [entry for axes in panels[:2] for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    figure.legend(
        *zip(*entries, strict=True), loc="outside lower center", ncols=4 if column("double") == "double" else 2
    )
    lettered(panels, ["digits, here", *(setting.replace(", ", "\n", 1) for setting in SETTINGS)])
    return figure
