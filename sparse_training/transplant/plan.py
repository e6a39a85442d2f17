"""Find out before the first step whether every source and every cell of a transplant can be trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from commons.checks import refuse
from sparse_training.masks import prunable
from sparse_training.methods import Static
from sparse_training.runs.address import slug
from sparse_training.runs.run import Run
from sparse_training.training.many import check_runs, epochs_of, network_of, unique
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.sources import SourceRun, cell_folder, recorded
from sparse_training.transplant.verdict import BASELINE


def check_plan(sources: Sequence[SourceRun], cells: Sequence[Cell], out: Path, workers: int = 0) -> None:
    """Refuse, before any work, what would end one of the runs later.

    Raises:
        InputError: two rows of one name; a cell that asks for signs of an epoch that a source does not record, or of a
            run that is unfinished or has another network; or what `training.many.check_runs` finds.
    """
    unique("cell", [BASELINE, *(cell.label for cell in cells)])
    unique("source", [f"{source.label}, seed {source.seed}" for source in sources])
    plan = [(source.config, source.folder) for source in sources]
    for source in sources:
        for cell in cells:
            if cell.early_epoch is not None:
                _check_epoch(source, cell.early_epoch)
            if cell.other_run:
                _check_other(source, cell.other_run)
            place = cell_folder(source, cell, out) if source.finished else source.place(out) / slug(cell.label)
            plan.append((replace(source.config, method=Static()), place))
    check_runs([config for config, _ in plan], [folder for _, folder in plan], workers)


def _check_epoch(source: SourceRun, epoch: int) -> None:
    known = recorded(source) if source.finished else list(range(epochs_of(source.config) + 1))
    if epoch not in known:
        text = f"{known[0]} to {known[-1]}" if known == list(range(len(known))) else ", ".join(map(str, known))
        refuse(
            "epoch of signs", epoch, f"an epoch that {source.label} with seed {source.seed} records", f"it has {text}"
        )


def _check_other(source: SourceRun, folder: str) -> None:
    other = Run(folder)
    if not other.finished:
        refuse("signs", f"run:{folder}", "a finished run", "train it to its end first")
    weights, mask = other.weights(), source.config.mask
    for name, weight in prunable(network_of(source.config), mask.include, mask.exclude).items():
        if name not in weights or weights[name].shape != weight.shape:
            refuse("signs", f"run:{folder}", f"a run of the network {source.config.model}, with {name}")
