"""The ledger of a sweep of runs as a picture: every arm's seeds, and its paired difference from another arm."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from figures.intervals import draw_intervals
from figures.style import grid_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def ledger_figure(path: Path, sweep: str = "") -> "Figure":
    """Left, the metric of each seed and its mean; right, where there is a comparison, differences with 95 % intervals.

    sweep: which one of the ledger, if it has several. Differences that the table calls not resolved are open circles.
    Runs that diverged have no metric: how many there are of which arm stands below the left panel.

    Raises:
        InputError: the file is no ledger with such a sweep.
    """
    from commons.verdicts import Verdict
    from sparse_training.sweeps import Ledger
    from sparse_training.sweeps.columns import LOWER_IS_BETTER
    from sparse_training.sweeps.plan import label
    from sparse_training.sweeps.table import compare, header_of

    ledger = Ledger(path)
    header = header_of(ledger, sweep)
    every = compare(ledger, header["sweep"])
    shown = [each for each in every if each.mean is not None]
    against, metric = header["against"], header["metric"]
    columns = 2 if any(each.difference for each in shown) else 1
    figure, panels = grid_of(columns, "double", 0.28 * len(shown) + 0.7, sharey=True)
    values = {
        label(each.arm, each.point): [number for run in each.numbers.values() if (number := run[metric]) is not None]
        for each in shown
    }
    lost = [f"{label(each.arm, each.point)} {each.diverged} of {len(each.records)}" for each in every if each.diverged]
    told = "".join(f"\n{line}" for line in ("runs that diverged:", *lost)) if lost else ""
    draw_intervals(panels[0], values, {}, metric.replace("_", " ") + told)
    if columns == 2:
        axes = panels[1]
        axes.axvline(0, color="black", lw=0.6, ls="--")
        if header["margin"]:
            axes.axvspan(-header["margin"], header["margin"], color="0.9", zorder=0)
        for row, each in enumerate(shown):
            if each.difference is not None:
                half = each.difference.high - each.difference.mean
                face = "white" if each.above is Verdict.NOT_RESOLVED else "#0072B2"
                error = half if np.isfinite(half) else None
                axes.errorbar(each.difference.mean, row, xerr=error, fmt="o", color="#0072B2", mfc=face)
        told = "\nleft of 0 is better" if metric in LOWER_IS_BETTER else ""
        axes.set_xlabel(f"difference from {against}, same seeds{told}")
    return figure
