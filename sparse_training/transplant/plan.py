"""The sweep of a transplant, and what is found out before its first step: whether every run of it can be made."""

from collections.abc import Sequence
from pathlib import Path

from commons.checks import InputError, refuse
from sparse_training.masks import prunable
from sparse_training.runs.run import Run
from sparse_training.sweeps import Plan, Settings, Sweep
from sparse_training.sweeps.here import check_here
from sparse_training.sweeps.plan import Treatment, begun_elsewhere
from sparse_training.training.many import epochs_of, network_of, unique
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.origin import recorded
from sparse_training.transplant.verdict import BASELINE


def sweep_of(sources: Sequence[Treatment], cells: Sequence[Cell], out: Path, seeds: Sequence[int] = ()) -> Sweep:
    """The sweep of sources and of runs that start from them: an arm for each cell, at each source as its point.

    sources: from `planned` or `given`. seeds: of those that are planned; given runs have their own. out: where the runs
    and the ledger lie.

    Raises:
        InputError: two sources or two cells of one name, or out holds runs of a version that kept no ledger.
    """
    unique("cell", [BASELINE, *(cell.label for cell in cells)])
    unique("source", [source.point["source"] for source in sources])
    old = next(iter(sorted(out.glob("*/seed-*/*/config.toml"))), None)
    if old is not None:
        raise InputError(
            f"out={str(out)!r} holds {old.parent.relative_to(out).as_posix()!r}, a run of an earlier version, whose "
            "transplants do not go on; name another folder: finished sources can be given by --source"
        )
    treatments = [source for source in sources if not source.given]
    beside = compared(cells)
    for source in sources:
        base = begun_elsewhere(source.config)
        treatments += [Treatment(cell.label, source.point, base, source, cell, beside[cell]) for cell in cells]
    seeds = tuple(dict.fromkeys([*seeds, *(seed for source in sources for seed in source.given)]))
    return Sweep(Plan("transplant", tuple(treatments), seeds, BASELINE), Settings(out, out / "ledger.jsonl"))


def compared(cells: Sequence[Cell]) -> dict[Cell, tuple[Cell, ...]]:
    """The cells, those with final signs first, each with the cells before it that differ from it in the signs alone."""
    found: dict[Cell, tuple[Cell, ...]] = {}
    for cell in sorted(cells, key=lambda cell: cell.signs != "final"):
        alike = [one for one in found if (one.mask, *one.choices[2:]) == (cell.mask, *cell.choices[2:])]
        found[cell] = tuple(alike)
    return found


def check_plan(sweep: Sweep, workers: int = 0) -> None:
    """Refuse, before any work, what would end one of the runs later.

    Raises:
        InputError: a cell asks for signs of an epoch that a source does not record, or of a run that is unfinished or
            has another network; or what `training.many.check_runs` finds.
    """
    for treatment in sweep.plan.treatments:
        if treatment.source is None or treatment.start is None:
            continue
        if treatment.start.early_epoch is not None:
            _check_epoch(treatment.source, treatment.start.early_epoch)
        if treatment.start.other_run:
            _check_other(treatment.source, treatment.start.other_run)
    check_here(sweep, workers)


def _check_epoch(source: Treatment, epoch: int) -> None:
    runs = [recorded(Run(folder)) for folder in source.given.values()] or [list(range(epochs_of(source.config) + 1))]
    for known in runs:
        if epoch not in known:
            told = f"{known[0]} to {known[-1]}" if known == list(range(len(known))) else ", ".join(map(str, known))
            label = source.point["source"]
            refuse("epoch of signs", epoch, f"an epoch that {label} records with every seed", f"one has {told}")


def _check_other(source: Treatment, folder: str) -> None:
    other = Run(folder)
    if not other.finished:
        refuse("signs", f"run:{folder}", "a finished run", "train it to its end first")
    weights, mask = other.weights(), source.config.mask
    for name, weight in prunable(network_of(source.config), mask.include, mask.exclude).items():
        if name not in weights or weights[name].shape != weight.shape:
            refuse("signs", f"run:{folder}", f"a run of the network {source.config.model}, with {name}")
