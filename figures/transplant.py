"""The starts of a sparse run side by side, as a picture."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.statistics import paired_interval
from figures.intervals import draw_intervals
from figures.published import SIGN_ALIGNMENT
from figures.style import COLUMNS, column

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Starts = dict[str, list[float]]
PUBLISHED = {"acdc": "AC/DC", "str": "STR", "rigl": "RiGL"}  # columns of the published table; AC/DC for other sources


def transplant_figure(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """A row of panels for each source: accuracy of each start, and its paired difference from the source.

    rows: one a source, start and seed, with the accuracy in percent, as `transplant` writes them to report.csv; the
    first start of a source is the source itself. Starts whose accuracies are the same seed by seed are one line, which
    says so. Open diamonds are the published differences.
    """
    from matplotlib import pyplot as plt

    values: dict[str, Starts] = {}
    for row in rows:
        values.setdefault(row["source"], {}).setdefault(row["start"], []).append(float(row["accuracy"]))
    merged = {source: merge_equal(starts) for source, starts in values.items()}
    kind = column("double")
    heights = [0.26 * len(starts) + 0.6 for starts in merged.values()]
    if kind == "single":  # where the name of a start takes two or three lines
        heights = [1.4 * height for height in heights]
    figure, panels = plt.subplots(
        len(merged), 2, figsize=(COLUMNS[kind], sum(heights) + 0.2), squeeze=False, sharey="row", height_ratios=heights
    )  # fmt: skip
    marks: list[Artist] = []  # of what was published, the same in every panel
    for (left, right), (source, starts) in zip(panels, merged.items(), strict=True):
        baseline = next(iter(starts.values()))
        draw_intervals(left, starts, {}, "test accuracy (%)", reference=float(np.mean(baseline)))
        marks += _draw_differences(right, starts, baseline, published(source, starts))
        if len(merged) > 1:
            left.set_title(source, loc="left")
        far = "difference from the source (points)"
        right.set_xlabel(textwrap.fill(far, 15) if kind == "single" else far)
    if marks:
        figure.legend(handles=marks[:1], loc="outside lower center")
    return figure


def merge_equal(starts: Starts) -> Starts:
    """The starts with those that have the same accuracies, seed by seed, under one name that tells all of them."""
    merged: dict[tuple[float, ...], list[str]] = {}
    for name, accuracies in starts.items():
        merged.setdefault(tuple(accuracies), []).append(name)
    return {" =\n".join(names): list(accuracies) for accuracies, names in merged.items()}


def published(source: str, starts: Starts) -> dict[int, float]:
    """By the place of a start, its published difference from its baseline; the paper's early epochs are 10 and 30."""
    column = PUBLISHED.get(source, "AC/DC")
    baseline, first, second, final, magnitudes, neither = (
        SIGN_ALIGNMENT.value(row, column) for row in SIGN_ALIGNMENT.rows
    )
    named = {"final signs + learned mask": final, "final magnitudes + learned mask": magnitudes}
    named["random init + learned mask"] = neither
    early = iter((first, second))
    found: dict[int, float] = {}
    for place, joint in enumerate(starts):
        for name in joint.split(" =\n"):
            value = next(early, None) if name.startswith("signs of epoch") else named.get(name.split(" (random")[0])
            if value is not None:
                found[place] = value - baseline
    return found


def _draw_differences(
    axes: "Axes", starts: Starts, baseline: Sequence[float], told: Mapping[int, float]
) -> "list[Line2D]":
    """Draw paired differences with their intervals, and what was published; returns the marks of the latter."""
    axes.axvline(0, color="black", lw=0.6, ls="--")
    for place, (name, accuracies) in enumerate(starts.items()):
        if place and len(accuracies) == len(baseline):
            difference = paired_interval(accuracies, baseline)
            half = difference.high - difference.mean
            xerr = half if np.isfinite(half) else None
            axes.errorbar(difference.mean, place, xerr=xerr, fmt="o", color="#0072B2", label=f"{name}, difference")
    if not told:
        return []
    label, places = "published, ResNet-50 on ImageNet", np.array(list(told)) + 0.2
    return axes.plot(list(told.values()), places, "D", color="#D55E00", mfc="none", ms=3, label=label)
