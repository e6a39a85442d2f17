"""Make the runs of a transplant, as a sweep, and gather one row a run from its ledger."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparse_training.runs.run import Run
from sparse_training.signs import agreement
from sparse_training.sweeps import Sweep
from sparse_training.sweeps.columns import numbers
from sparse_training.sweeps.here import run_here
from sparse_training.sweeps.job import done
from sparse_training.sweeps.ledger import Record
from sparse_training.sweeps.plan import Treatment
from sparse_training.training.many import Done
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.plan import check_plan, compared, sweep_of
from sparse_training.transplant.verdict import BASELINE

Row = dict[str, Any]
Lines = Mapping[tuple[str, str, int], Record]  # by source, start and seed
SAME = 0.01  # starts that differ in nothing but the signs of a smaller share of the active weights are one experiment


def run_cells(
    sources: Sequence[Treatment],
    cells: Sequence[Cell],
    out: Path,
    *,
    seeds: Sequence[int] = (),
    workers: int = 0,
    progress: Done = lambda finished, total: None,
) -> list[Row]:
    """Train what the ledger in `out` lacks and return one row a run.

    A row holds source, start, seed, accuracy in percent, density, the numbers of signs and magnitudes that were
    redrawn, `final_signs`, the share of the active weights whose sign at the start is the source's final one, and
    `same_as`, another start that is the same experiment because fewer than 1 % of its signs differ and nothing else.

    sources, seeds: as in `sweep_of`. workers: processes, 0 for one a core. progress: called with the numbers of
    finished and of all runs.

    Raises:
        InputError: what `sweep_of` and `check_plan` find before the first step, or a run that fails.
        PreemptedError: SIGTERM or SIGUSR1 came; the states are saved.
    """
    sweep = sweep_of(sources, cells, out, seeds)
    check_plan(sweep, workers)
    run_here(sweep, workers, progress)
    lines = _lines(sweep)
    rows = [_baseline(source, seed, lines) for source in sources for seed in source.given or seeds]
    for source in sources:
        label, own = source.point["source"], source.given or seeds
        same = repeated(cells, [{cell: lines[label, cell.label, seed] for cell in cells} for seed in own])
        for seed in own:
            for cell in cells:
                line = lines[label, cell.label, seed]
                start = {key: line["start"][key] for key in ("redrawn_signs", "redrawn_magnitudes", "final_signs")}
                rows.append(_row(label, cell.label, seed, line["metrics"], start, same.get(cell.label, "")))
    return rows


def repeated(cells: Sequence[Cell], seeds: Sequence[Mapping[Cell, Record]]) -> dict[str, str]:
    """Labels of cells that repeat another one, with the label of that one: final signs, or else the first.

    Two cells are one experiment if they differ in the signs alone, and these in less than `SAME` of the active weights
    on average over the seeds. seeds: for each seed of one source the lines of its cells.
    """
    same: dict[str, str] = {}
    for cell, others in compared(cells).items():
        for other in (one for one in others if one.label not in same):
            shares = [lines[cell]["start"]["differs"][other.text] for lines in seeds]
            if sum(shares) / len(shares) < SAME:
                same[cell.label] = other.label
                break
    return same


def _lines(sweep: Sweep) -> Lines:
    return {
        (job.point["source"], job.arm, job.seed): next(line for line in sweep.ledger.at(job.address) if done(line, job))
        for job in sweep.jobs
    }


def _baseline(source: Treatment, seed: int, lines: Lines) -> Row:
    """The row of a source itself: none of its signs are redrawn, and some are the final ones."""
    label = source.point["source"]
    if source.given:
        run = Run(source.given[seed], source.config.code)
        metrics, final = run.summary, agreement(run.weights(0), run.weights(), run.masks(0), run.masks())
    else:
        line = lines[label, BASELINE, seed]
        metrics, counts = line["metrics"], numbers(line, {})
        same, among = counts["same"], counts["compared"]
        final = 1.0 if not among or same is None else same / among
    start = {"redrawn_signs": 0, "redrawn_magnitudes": 0, "final_signs": final}
    return _row(label, BASELINE, seed, metrics, start)


def _row(
    source: str, start: str, seed: int, metrics: Mapping[str, Any], counts: Mapping[str, Any], same_as: str = ""
) -> Row:
    return {
        "source": source,
        "start": start,
        "seed": seed,
        "accuracy": metrics["test_accuracy"],
        "density": metrics["density"],
        **counts,
        "same_as": same_as,
    }
