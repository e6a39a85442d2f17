"""Curvature as pictures: λ_max of arms, λ_max by epoch, the loss along the top eigenvector, the spectral density.

All of it was measured by `python -m sparse_training sharpness`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commons.checks import InputError
from commons.files import read_npz
from figures.intervals import draw_intervals
from figures.style import from_zero, grid_of, styles
from figures.tables import read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
Array = NDArray[np.float64]


def sharpness_figure(rows: Rows) -> "Figure":
    """The largest Hessian eigenvalue of each arm; rows: one an arm and seed."""
    values: dict[str, list[float]] = {}
    for row in rows:
        values.setdefault(row["arm"], []).append(row["largest Hessian eigenvalue"])
    figure, (axes,) = grid_of(1, "single", 0.4 * len(values) + 0.6)
    draw_intervals(axes, values, styles(values), "largest Hessian eigenvalue")
    axes.set_xlim(0, None)
    return figure


def eigenvalues_figure(tables: Mapping[str, Rows]) -> "Figure":
    """λ_max and λ_min against epochs from zero, a line a run, quantity and space; unconverged values are open circles.

    tables: rows of eigenvalues.csv by the name of the run.
    """
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    lines: dict[tuple[str, str, str], Rows] = {}
    for name, rows in tables.items():
        for row in rows:
            if row["quantity"] in ("λ_max", "λ_min"):
                key = (name, row["quantity"], row["space"])
                lines[key] = [*lines.get(key, ()), row]
    varying = [len({key[i] for key in lines}) > 1 for i in range(3)]
    labels = [", ".join(part for part, varies in zip(key, varying, strict=True) if varies) for key in lines]
    looks = styles(labels)
    for label, rows in zip(labels, lines.values(), strict=True):
        epochs, values = ([float(row[name] or 0) for row in rows] for name in ("epoch", "value"))
        look = looks[label]
        axes.plot(epochs, values, color=look.colour, marker=look.marker, ls=look.dashes, ms=2, label=label or None)
        missed = [i for i, row in enumerate(rows) if str(row["converged"]) != "True"]
        x, y = ([numbers[i] for i in missed] for numbers in (epochs, values))
        axes.plot(x, y, "o", ms=5, mfc="none", color=look.colour)
    quantities = sorted({quantity for _, quantity, _ in lines})
    axes.set(
        xlabel="epoch",
        ylabel=", ".join(quantities).replace("λ_max", "$λ_{\\mathrm{max}}$").replace("λ_min", "$λ_{\\mathrm{min}}$"),
    )
    if all(float(row["value"] or 0) >= 0 for rows in lines.values() for row in rows):
        from_zero(axes)
    if any(varying):
        axes.legend()
    return figure


def line_figure(rows: Rows) -> "Figure":
    """The loss along the top eigenvector and the parabola of gradient and λ_max; rows: of a line.csv."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    t, loss, parabola = (np.array([float(row[name]) for row in rows]) for name in ("t", "loss", "parabola"))
    axes.plot(t, loss, label="loss")
    axes.plot(t, parabola, "--", label="slope and $λ_{\\mathrm{max}}$ at 0")
    axes.axvline(0, color="black", lw=0.4)
    room = 0.08 * (loss.max() - loss.min() or 1)
    axes.set(xlabel="distance along the top eigenvector", ylabel="loss", ylim=(loss.min() - room, loss.max() + room))
    axes.legend()
    return figure


def density_figure(arrays: Mapping[str, Any], largest: float | None = None) -> "Figure":
    """Spectral density with its interval on a logarithmic scale; arrays: of a spectrum.npz; largest: λ_max to mark."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots()
    draw_density(axes, arrays["grid"], arrays["mean"], arrays["low"], arrays["high"])
    if largest is not None:
        axes.axvline(largest, color="#D55E00", lw=1, ls="--", label=f"$λ_{{\\mathrm{{max}}}}$ = {largest:.4g}")
        axes.legend()
    return figure


def draw_density(axes: "Axes", grid: Array, mean: Array, low: Array, high: Array) -> None:
    """Draw a density and its interval, all (points,), on a logarithmic scale that spans six decades."""
    floor = 1e-6 * float(mean.max())
    low, mean, high = (np.maximum(values, floor) for values in (low, mean, high))
    axes.fill_between(grid, low, high, alpha=0.25, lw=0)
    axes.plot(grid, mean)
    axes.set(yscale="log", ylim=(floor, None), xlabel="eigenvalue of the Hessian", ylabel="density")


def figure_of(files: Sequence[Path]) -> "Figure":
    """The picture of a spectrum.npz, of a line.csv, or of the eigenvalues.csv of one or more runs, told by content.

    Raises:
        InputError: a file that cannot be read or is none of these, or several that are not all eigenvalues.
    """
    if len(files) == 1 and files[0].suffix == ".npz":
        try:
            saved = read_npz(files[0])
            arrays = {name: saved[name] for name in ("grid", "mean", "low", "high")}
            return density_figure(arrays, _largest(files[0].with_name("eigenvalues.csv")))
        except (ValueError, TypeError, KeyError):
            raise InputError(f"file={str(files[0])!r} cannot be read as a spectral density") from None
    names = [_name(path) for path in files]
    if len(set(names)) < len(names):
        names = [str(path) for path in files]
    columns = set.intersection(*(set(read_table(path)[0]) for path in files))
    if {"epoch", "quantity", "space", "value", "converged"} <= columns:
        chosen = (("quantity", "space", "converged"), ("epoch", "value"))
        return eigenvalues_figure({name: read_table(path, *chosen) for name, path in zip(names, files, strict=True)})
    if len(files) == 1 and {"t", "loss", "parabola"} <= columns:
        return line_figure(read_table(files[0], (), ("t", "loss", "parabola")))
    raise InputError(f"file={str(files[-1])!r} is no table of eigenvalues, nor a single line.csv or spectrum.npz")


def _largest(path: Path) -> float | None:
    """The λ_max of the last epoch in an eigenvalues.csv, or None where there is none."""
    if not path.is_file():
        return None
    rows = read_table(path, ("quantity", "space"), ("epoch", "value"))
    found = [row for row in rows if (row["quantity"], row["space"]) == ("λ_max", "theta") and row["value"]]
    return float(max(found, key=lambda row: float(row["epoch"] or 0))["value"]) if found else None


def _name(path: Path) -> str:
    """The run that a table belongs to: RUN/sharpness/eigenvalues.csv, or RUN-eigenvalues.csv."""
    own = path.stem.removesuffix("eigenvalues").rstrip("-")
    return own or path.resolve().parent.parent.name
