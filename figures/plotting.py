"""`figures.plot`: draw any result of this project into an axes of one's own, or a new one."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.checks import refuse
from commons.files import read_npz

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(result: object, ax: "Axes | None" = None, *, column: str = "single") -> "Axes":
    """Draw a result object and return the axes that it is drawn into.

    result: a PhaseDiagram, Sweep, Trajectories or Descent of dynamics; a Flow of theory, as its exact basin; a
        SignHistory, SignTracker or FlipTable, as flips by layer; a SpectralDensity or an Eigenpair; or a Run, as its
        losses. `DRAWN` lists them, and what enters there is drawn as well. A path stands for what is stored there: the
        .npz of a PhaseDiagram or a Sweep, the file of a SignTracker, or the folder of a Run.
    ax: matplotlib axes; None makes a figure with the project's style.
    column: width of a figure that is made: "single", 85 mm, or "double", 178 mm.

    Raises:
        InputError: nothing draws such an object, the path holds none, or there is no such column.
    """
    if isinstance(result, (str, Path)):
        result = _stored(Path(result))
    names = [f"{kind.__module__.split('.')[0]}:{kind.__qualname__}" for kind in type(result).__mro__]
    draw = next((DRAWN[name] for name in names if name in DRAWN), None)
    if draw is None:
        refuse("result", type(result).__name__, f"one of {', '.join(name.split(':')[1] for name in DRAWN)}")
    if ax is None:
        from matplotlib import pyplot as plt

        from figures.style import SHEET, sized

        with plt.style.context(SHEET), sized(column):
            return plot(result, plt.subplots()[1])
    draw(ax, result)
    return ax


def _stored(path: Path) -> object:
    """The result that a file or folder holds."""
    if path.is_dir():
        from sparse_training.runs.run import Run

        return Run(path)
    if path.suffix == ".npz":
        from dynamics import PhaseDiagram, Sweep

        return (PhaseDiagram if "outcome" in read_npz(path) else Sweep).load(path)
    from sparse_training.signs import SignHistory

    return SignHistory(path)


def _phase(axes: "Axes", diagram: Any) -> None:
    _module("phase_diagrams").draw_phase_diagram(axes, diagram)


def _sweep(axes: "Axes", sweep: Any) -> None:
    _module("sweeps").draw_sweep(axes, sweep)


def _flow(axes: "Axes", flow: Any) -> None:
    """The exact basin of a flow in [−2, 2]², with arrows and the paths of a few starts."""
    _module("phase_diagrams").draw_basin(axes, flow)


def _ends(axes: "Axes", ends: Any) -> None:
    """Where starts ended, (a, w), marked by their outcome."""
    from dynamics import Outcome

    marks = dict(zip(Outcome, ("o", "s", "x", "^", "."), strict=True))
    colours = dict(zip(Outcome, ("#0072B2", "#000000", "#D55E00", "#CC79A7", "#888888"), strict=True))
    for kind in Outcome:
        here = ends.outcome == kind
        if here.any():
            label = f"{kind.name.lower()}: {here.mean():.1%}"
            axes.plot(ends.a[here], ends.w[here], marks[kind], color=colours[kind], ms=3, label=label)
    axes.set(xlabel="a at the end", ylabel="w at the end")
    axes.legend()


def _history(axes: "Axes", history: Any) -> None:
    from sparse_training.signs import flip_table

    _flips(axes, flip_table(history))


def _flips(axes: "Axes", table: Any) -> None:
    """Share of active weights that flipped since the first recorded epoch, a line a layer."""
    from figures.style import from_zero, styles

    for layer, look in styles(table.flips).items():
        rows = [row.row() for row in table.rows if row.layer == layer]
        known = [row for row in rows if row["since_init"] is not None]
        values = [100 * row["since_init"] for row in known]
        axes.plot(
            [row["epoch"] for row in known],
            values,
            color=look.colour,
            ls=look.dashes,
            label=layer.removesuffix(".weight"),
        )
    axes.set(xlabel="epoch", ylabel="flipped since init (%)")
    from_zero(axes)
    axes.legend()


def _density(axes: "Axes", density: Any) -> None:
    _module("sharpness").draw_density(axes, density.grid, density.mean, density.low, density.high)


def _eigenpair(axes: "Axes", pair: Any) -> None:
    """The components of an eigenvector by size, with its eigenvalue and the bound on its error in the title."""
    sizes = np.sort(np.abs(np.asarray(pair.vector.detach().cpu()).ravel()))[::-1]
    axes.plot(np.arange(1, len(sizes) + 1), sizes)
    axes.set(xscale="log", yscale="log", xlabel="component, by size", ylabel="absolute value in the eigenvector")
    axes.set_title(f"λ = {pair.value:.6g} ± {pair.error:.1g}", loc="left")


def _run(axes: "Axes", run: Any) -> None:
    """Training loss and test accuracy of a run by epoch, the latter on an axis of its own."""
    from commons.files import read_jsonl

    lines = read_jsonl(run.path / "metrics.jsonl")
    epochs = [line["epoch"] for line in lines]
    axes.plot(epochs, [line["train_loss"] for line in lines], color="#D55E00")
    axes.set(xlabel="epoch", ylabel="training loss (falling line)")
    beside = axes.twinx()
    beside.plot(epochs, [line["test_accuracy"] for line in lines], color="#0072B2", ls="--")
    beside.set_ylabel("test accuracy (%, dashed)")


def _tracker(axes: "Axes", tracker: Any) -> None:
    _history(axes, tracker.history)


def _module(name: str) -> Any:
    return importlib.import_module(f"figures.{name}")


DRAWN: dict[str, Callable[["Axes", Any], None]] = {
    "dynamics:PhaseDiagram": _phase,
    "dynamics:Sweep": _sweep,
    "dynamics:Trajectories": _ends,
    "dynamics:Descent": _ends,
    "theory:Flow": _flow,
    "sparse_training:SignHistory": _history,
    "sparse_training:SignTracker": _tracker,
    "sparse_training:FlipTable": _flips,
    "sparse_training:SpectralDensity": _density,
    "sparse_training:Eigenpair": _eigenpair,
    "sparse_training:Run": _run,
}
"""What draws each kind of result, by "package:class"; an entry for a class of yours has its package's name."""
