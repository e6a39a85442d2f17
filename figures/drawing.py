"""The figures that `python -m figures NAME FILE` draws, by name; each entry says in its first line what it reads.

To add one, write a function from paths to a matplotlib figure. It is drawn by `python -m figures module:function FILE`,
or under a name of its own once `FIGURES.register("name")` decorates it. Heavy imports wait until a figure is drawn.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.checks import refuse
from commons.files import read_jsonl, unreadable
from commons.registry import Registry
from figures.tables import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[Sequence[Path]], "Figure"]
FIGURES: Registry[Draw] = Registry("a function from paths to a matplotlib figure")


@FIGURES.register("phase")
def phase(files: Sequence[Path]) -> "Figure":
    """A phase diagram (.npz) that `python -m dynamics phase` saved."""
    from dynamics import PhaseDiagram
    from figures.phase_diagrams import phase_figure

    return phase_figure(PhaseDiagram.load(only(files)))


@FIGURES.register("compare")
def compare(files: Sequence[Path]) -> "Figure":
    """The two phase diagrams (.npz) that `python -m dynamics compare` saved, and the set where they differ."""
    from dynamics import PhaseDiagram
    from figures.phase_diagrams import comparison_figure

    if len(files) != 2:
        refuse("files", " ".join(map(str, files)), "two phase diagrams")
    first, second = map(PhaseDiagram.load, files)
    return comparison_figure(first, second)


@FIGURES.register("geometry")
def geometry(files: Sequence[Path]) -> "Figure":
    """The shares by flow (.npz) that `python -m dynamics geometry` saved."""
    from dynamics import Sweep
    from figures.geometry import geometry_figure

    return geometry_figure(Sweep.load(only(files)))


@FIGURES.register("sweep")
def sweep(files: Sequence[Path]) -> "Figure":
    """A sweep (.npz) that the other commands of `python -m dynamics` saved, or a ledger of runs (.jsonl)."""
    if only(files).suffix == ".jsonl":
        from figures.ledgers import ledger_figure

        return ledger_figure(only(files))
    from dynamics import Sweep
    from figures.sweeps import sweep_figure

    return sweep_figure(Sweep.load(only(files)))


@FIGURES.register("sharpness")
def sharpness(files: Sequence[Path]) -> "Figure":
    """The eigenvalues.csv of one or several runs, or a line.csv or spectrum.npz, of `sparse_training sharpness`.

    Several files are lines of one figure, and each is told by the folder of its run.
    """
    from figures.sharpness import figure_of

    return figure_of(files)


@FIGURES.register("signs")
def signs(files: Sequence[Path]) -> "Figure":
    """The signs.csv of one or several runs that `sparse_training signs` wrote, or the .bin files of SignTrackers.

    Each arm has a colour. The folders of runs give the names of arms, and runs that differ in their seed alone are one.
    """
    from figures.signs import flips_figure

    return flips_figure([{**row, "arm": arm_of(path), "seed": str(path)} for path in files for row in _flip_rows(path)])


def _flip_rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """A row for each layer and epoch, and for all layers together."""
    if path.suffix != ".bin":
        return read_table(path, ("layer",), ("epoch", "since_init", "since_previous"))
    from sparse_training.signs import SignHistory, flip_table

    table = flip_table(SignHistory(path))
    return [row.row() for row in (*table.rows, *table.totals())]


@FIGURES.register("speeds")
def speeds(files: Sequence[Path]) -> "Figure":
    """The metrics.jsonl of a run with a reparametrization or a scaling: how fast each layer moves, epoch by epoch."""
    from figures.speeds import speeds_figure

    lines = read_jsonl(only(files))
    if not lines or not all("speeds" in line for line in lines):
        unreadable(only(files), "its lines have no speeds, as those of plain training have none")
    return speeds_figure(lines)


@FIGURES.register("transplant")
def transplant(files: Sequence[Path]) -> "Figure":
    """The report.csv that `python -m sparse_training transplant` wrote, a panel for each source."""
    from figures.transplant import transplant_figure

    return transplant_figure(read_table(only(files), ("source", "start"), ("seed", "accuracy")))


def only(files: Sequence[Path]) -> Path:
    """The one file; InputError where there are several."""
    if len(files) != 1:
        refuse("files", " ".join(map(str, files)), "a single file")
    return files[0]


def arm_of(path: Path) -> str:
    """The name of the arm that RUN/signs.csv or RUN-signs.csv belongs to, without the seed and the run's address."""
    names = [path.stem.removesuffix("signs").rstrip("-_"), *(folder.name for folder in path.resolve().parents)]
    bare = (re.sub(r"(^|[-_ ])seed[-_ ]?\d+(-[0-9a-f]{12})?$", "", name) for name in names)
    return next((name for name in bare if name), str(path))
