"""Figures of results that are kept: each is drawn again by its name alone, from files under one folder.

Heavy imports wait until a figure is drawn.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from commons.checks import refuse
from figures.experiments import PRESETS
from figures.tables import read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Stored:
    """What a figure shows, the files that it reads relative to the folder of results, and what draws it from them."""

    text: str
    files: tuple[str, ...]
    draw: Callable[[Sequence[Path]], "Figure"]

    def found(self, results: Path) -> list[Path]:
        """The files in a folder; InputError names the first that is not there."""
        paths = [results / name for name in self.files]
        for path in paths:
            if not path.is_file():
                told = (
                    "`python -m figures reproduce --out results/reproduce` writes it"
                    if "reproduce" in str(path)
                    else ""
                )
                refuse("--results", str(results), f"a folder with {path.relative_to(results)}", told)
        return paths


def _of_model(kind: str, model: str, files: Sequence[Path]) -> "Figure":
    """The rows of one model in a table of a reproduction, as the figure of that kind."""
    from figures.findings import ACCURACY, SHARPNESS
    from figures.sharpness import sharpness_figure
    from figures.signs import flips_figure
    from figures.transplant import transplant_figure

    rows = [row for row in read_table(files[0], ("model",)) if row["model"] == model]
    if kind == "flips":
        return flips_figure(rows)
    if kind == "sharpness":
        return sharpness_figure([{**row, SHARPNESS: float(row[SHARPNESS])} for row in rows])
    return transplant_figure([{"source": model, "start": row["start"], "accuracy": row[ACCURACY]} for row in rows])


def _transplant(files: Sequence[Path]) -> "Figure":
    from figures.transplant import transplant_figure

    return transplant_figure(read_table(files[0], ("source", "start"), ("seed", "accuracy")))


def _accuracy(files: Sequence[Path]) -> "Figure":
    """Ours on digits beside the published accuracies, against sparsity."""
    from figures.accuracy import Series, accuracy_figure

    found: dict[str, list[tuple[float, float, float]]] = {}
    for row in read_table(files[0], ("variant",), ("accuracy %", "±")):
        told = re.fullmatch(r"density ([\d.]+), (.+)", row["variant"])
        if told:
            point = (100 * (1 - float(told[1])), float(row["accuracy %"]), float(row["±"]))
            found.setdefault(told[2], []).append(point)
    return accuracy_figure([Series(name, tuple(sorted(points))) for name, points in found.items()])


def _speed(files: Sequence[Path]) -> "Figure":
    from figures.bars import bars_figure

    rows = read_table(files[0], ("solver",), ("median", "peak MiB"))
    values = {row["solver"]: float(row["median"]) for row in rows}
    memory = {row["solver"]: float(row["peak MiB"]) for row in rows}
    return bars_figure({"million starts a second, median": values, "peak memory (MiB)": memory}, logarithmic=True)


def _training_speed(files: Sequence[Path]) -> "Figure":
    from figures.bars import bars_figure

    columns = ("of static", "held MiB")
    rows = read_table(files[0], ("model", "mode", "variant"), columns)
    named = {f"{row['model']}, {row['mode']}: {row['variant']}": row for row in rows}
    panels = {
        "time of a step over that of a static mask": columns[0],
        "memory held by weights and states (MiB)": columns[1],
    }
    return bars_figure(
        {
            title: {name: float(row[column]) for name, row in named.items() if row[column]}
            for title, column in panels.items()
        }
    )


OF_MODELS: dict[str, Stored] = {
    f"{kind}-{model}": Stored(
        f"{text} of the {model} on digits.", (f"tables/{table}.csv",), partial(_of_model, kind, model)
    )
    for model in PRESETS
    for kind, table, text in (
        ("flips", "flips", "Sign flips"),
        ("sharpness", "networks", "Largest Hessian eigenvalue"),
        ("transplant", "transplant", "Starts of sparse runs"),
    )
}
"""What `reproduce` draws of its networks, from files in its folder."""

STORED: dict[str, Stored] = {
    **{
        name: replace(kept, files=tuple(f"reproduce/{file}" for file in kept.files)) for name, kept in OF_MODELS.items()
    },
    "transplant-digits": Stored("Sign transplants on digits, 20 seeds.", ("transplant_digits.csv",), _transplant),
    "accuracy": Stored("Accuracy against sparsity beside the published one.", ("ablation-density.csv",), _accuracy),
    "speed-dynamics": Stored("Starts a second and memory of ODE solvers.", ("dynamics-speed.csv",), _speed),
    "speed-training": Stored("Time and memory of a step of training.", ("training-speed-cpu.csv",), _training_speed),
}
