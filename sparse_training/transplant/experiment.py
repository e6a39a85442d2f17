"""Train source runs and every cell for every seed, over processes, each in a run folder that survives a kill."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from commons.checks import InputError
from commons.parallel import run_jobs
from sparse_training import models
from sparse_training.masks import Masks, make_masks, score_and_distribution, usual_distribution
from sparse_training.methods import Static
from sparse_training.runs.checkpoint import Network, load_network, save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.seeding import derive
from sparse_training.signs import agreement
from sparse_training.training.many import Done, train_one
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.plan import check_plan
from sparse_training.transplant.sources import SourceRun, cell_address, cell_folder, signs_at, start_file
from sparse_training.transplant.start import Source, build_start
from sparse_training.transplant.verdict import BASELINE

Row = dict[str, Any]
SAME = 0.01  # starts that differ in nothing but the signs of a smaller share of the active weights are one experiment


def run_cells(
    sources: Sequence[SourceRun],
    cells: Sequence[Cell],
    out: Path,
    *,
    workers: int = 0,
    done: Done = lambda finished, total: None,
) -> list[Row]:
    """Train what is missing and return one row a run.

    A row holds source, start, seed, accuracy in percent, density, the numbers of signs and magnitudes that were
    redrawn, `final_signs`, the share of the active weights whose sign at the start is the source's final one, and
    `same_as`, another start that is the same experiment because fewer than 1 % of its signs differ and nothing else.

    workers: processes, 0 for one a core. done: called with the numbers of finished and of all runs.

    Raises:
        InputError: what `check_plan` finds before the first step, or a run that fails.
    """
    check_plan(sources, cells, out, workers)
    jobs = [(source, cell, out) for source in sources for cell in cells]
    total = len(sources) + len(jobs)
    rows: list[Row] = []
    work: tuple[tuple[Callable[..., Row], list[tuple[Any, ...]]], ...] = (
        (train_source, [(source,) for source in sources]),
        (train_cell, list(jobs)),
    )
    for function, arguments in work:
        found: dict[int, Row] = {}
        for index, row in run_jobs(function, arguments, workers):
            found[index] = row
            done(len(rows) + len(found), total)
        rows += [found[index] for index in sorted(found)]
    for label in dict.fromkeys(source.label for source in sources):
        same = repeated([source for source in sources if source.label == label], cells, out)
        for row in rows:
            if row["source"] == label:
                row["same_as"] = same.get(row["start"], "")
    return rows


def train_source(source: SourceRun) -> Row:
    """Train a source unless it is finished; return its row."""
    if not source.finished:
        train_one(source.config, source.folder)
    run = Run(source.folder)
    final_signs = agreement(run.weights(0), run.weights(), run.masks(0), run.masks())
    return _row(source, BASELINE, run, {"redrawn_signs": 0, "redrawn_magnitudes": 0}, final_signs)


def train_cell(source: SourceRun, cell: Cell, out: Path) -> Row:
    """Build the start of one cell if it is not there, train from it unless that is done; return the cell's row.

    Both lie in `out` under a name that holds the digest of everything that determines them: the configuration and the
    final network of the source, the cell's choices, and the final network of the other run that it may name.
    """
    run = Run(source.folder, trust=source.config.code)
    folder, whole = cell_folder(source, cell, out), cell_address(source, cell)
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = start_file(folder)
    start = _start_there(path, whole)
    if start is None:
        write_start(cell, run, path, address=whole)
        start = load_network(path)
    settings = replace(source.config.mask, density=run.masks().density, file="")
    if not (folder / "summary.json").exists():
        train_one(replace(source.config, method=Static(), start=str(path), mask=settings), folder)
    final_signs = agreement(start.weights(), run.weights(), start.masks, run.masks())
    return _row(source, cell.label, Run(folder), start.info, final_signs)


def write_start(cell: Cell, run: Run, path: Path, **info: str) -> None:
    """Build the start of a cell from a run and save it as a network that `start` of a configuration can name.

    info: what is to be saved with it besides the numbers of signs and magnitudes that were redrawn.
    """
    first, last = run.network(0), run.network()
    assert last.masks is not None
    config = run.config
    fresh = models.build(config.model, **last.info["inputs"], seed=derive(config.seed, "transplant"))
    start = build_start(
        cell,
        Source(first.state, last.state, last.masks, lambda epoch: signs_at(run, epoch)),
        fresh.state_dict(),
        derive(config.seed, "cell"),
        masks=_scored(cell, config, fresh, last.masks),
        other=Run(cell.other_run).network().state if cell.other_run else None,
    )
    counts: dict[str, Any] = {"redrawn_signs": start.redrawn_signs, "redrawn_magnitudes": start.redrawn_magnitudes}
    save_network(path, start.state, start.masks, **counts, **info)


def repeated(sources: Sequence[SourceRun], cells: Sequence[Cell], out: Path) -> dict[str, str]:
    """Labels of cells that repeat another one, with the label of that one: final signs, or else the first.

    Two cells are one experiment if they differ in the signs alone, and these in less than `SAME` of the active weights
    on average over the sources, which are the seeds of one configuration and finished.
    """
    same: dict[str, str] = {}
    kept: list[Cell] = []
    starts = {cell: [start_file(cell_folder(source, cell, out)) for source in sources] for cell in cells}
    for cell in sorted(cells, key=lambda cell: cell.signs != "final"):
        for other in kept:
            if (cell.mask, *cell.choices[2:]) == (other.mask, *other.choices[2:]):
                shares = [
                    _differing(*map(load_network, pair)) for pair in zip(starts[cell], starts[other], strict=True)
                ]
                if sum(shares) / len(shares) < SAME:
                    same[cell.label] = other.label
                    break
        else:
            kept.append(cell)
    return same


def _differing(first: Network, second: Network) -> float:
    """Share of the active weights whose sign differs."""
    return 1 - agreement(first.weights(), second.weights(), first.masks, second.masks)


def _start_there(path: Path, whole: str) -> Network | None:
    """The saved start, if it is whole and of this address."""
    try:
        found = load_network(path)
    except InputError:
        return None
    return found if found.info.get("address") == whole else None


def _scored(cell: Cell, config: Config, model: nn.Module, learned: Masks) -> Masks | None:
    """Masks of a cell whose mask is a score, on the freshly drawn network, at the density of the learned ones."""
    if cell.mask in ("learned", "shuffled"):
        return None
    score, distribution = score_and_distribution(cell.mask)
    data = config.data.load(augment=False)
    batch = data.samples("train", min(config.mask.samples, data.n_train), config.seed)
    return make_masks(
        model,
        learned.density,
        score,
        distribution or usual_distribution(score),
        batch=batch,
        seed=config.seed,
        include=config.mask.include,
        exclude=config.mask.exclude,
    )


def _row(source: SourceRun, start: str, run: Run, info: Mapping[str, Any], final_signs: float) -> Row:
    return {
        "source": source.label,
        "start": start,
        "seed": source.seed,
        "accuracy": run.summary["test_accuracy"],
        "density": run.summary["density"],
        "redrawn_signs": info["redrawn_signs"],
        "redrawn_magnitudes": info["redrawn_magnitudes"],
        "final_signs": final_signs,
        "same_as": "",
    }
