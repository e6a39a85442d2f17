"""Train source runs and every cell for every seed, over processes, each in a run folder that a kill leaves resumable.

It compares nothing: it returns one row a run.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from commons.checks import refuse
from commons.files import output_directory
from commons.parallel import run_jobs
from sparse_training import data as datasets
from sparse_training import models
from sparse_training.masks import EmptyLayer, Masks, make_masks, score_and_distribution, usual_distribution
from sparse_training.methods import Static
from sparse_training.runs.checkpoint import load_network, save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.seeding import derive
from sparse_training.training.loop import train
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.start import Source, build_start
from sparse_training.transplant.verdict import BASELINE

Row = dict[str, Any]


@dataclass(frozen=True)
class SourceRun:
    """A source of transplants for one seed: where its run is or will be, and how it is trained; label groups seeds."""

    label: str
    config: Config
    folder: Path

    @property
    def seed(self) -> int:
        """The seed of the source, which its cells share, so that both see the data in the same order."""
        return self.config.seed


def planned(label: str, config: Config, seeds: Sequence[int], out: Path) -> list[SourceRun]:
    """Sources to train, one a seed, under out/label."""
    return [SourceRun(label, replace(config, seed=s), out / label / f"seed-{s}" / BASELINE) for s in seeds]


def given(folders: Sequence[str | Path]) -> list[SourceRun]:
    """Finished runs as sources, labelled by their method.

    Raises:
        InputError: a folder holds no finished run, or two runs of one method differ in more than their seed.
    """
    sources: list[SourceRun] = []
    for folder in folders:
        run = Run(folder)
        if not run.finished:
            refuse("source", str(folder), "a finished run", "train it to its end first")
        for other in sources:
            if other.label == run.config.method.name and replace(other.config, seed=run.config.seed) != run.config:
                refuse("source", str(folder), f"the run of {other.folder} with another seed")
        sources.append(SourceRun(run.config.method.name, run.config, Path(folder)))
    return sources


def run_cells(
    sources: Sequence[SourceRun],
    cells: Sequence[Cell],
    out: Path,
    *,
    workers: int = 0,
    done: Callable[[int, int], object] = lambda finished, total: None,
) -> list[Row]:
    """Train what is missing and return one row a run: source, start, seed, accuracy in percent, density, and how many
    signs and magnitudes were redrawn.

    workers: processes, 0 for one a core. done: called with the numbers of finished and of all runs.
    """
    output_directory("out", out)
    jobs: list[tuple[SourceRun, Cell, Path]] = [(source, cell, out) for source in sources for cell in cells]
    total = len(sources) + len(jobs)
    rows: list[Row] = []
    for function, work in ((train_source, [(source,) for source in sources]), (train_cell, jobs)):
        found: dict[int, Row] = {}
        for index, row in run_jobs(function, work, workers):
            found[index] = row
            done(len(rows) + len(found), total)
        rows += [found[index] for index in sorted(found)]
    return rows


def train_source(source: SourceRun) -> Row:
    """Train a source unless it is finished; its row."""
    if not (source.folder / "summary.json").exists():
        _train(source.config, source.folder)
    return _row(source, BASELINE, source.folder, {"redrawn_signs": 0, "redrawn_magnitudes": 0})


def train_cell(source: SourceRun, cell: Cell, out: Path) -> Row:
    """Build the start of one cell if it is not there, train it unless it is finished; its row."""
    folder = out / source.label / f"seed-{source.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    start = folder / f"{cell.slug}.start.safetensors"
    run = Run(source.folder)
    if not start.exists():
        write_start(cell, run, start)
    settings = replace(source.config.mask, density=run.masks().density, file="")
    config = replace(source.config, method=Static(), start=str(start), mask=settings)
    _train(config, folder / cell.slug)
    return _row(source, cell.label, folder / cell.slug, load_network(start).info)


def write_start(cell: Cell, run: Run, path: Path) -> None:
    """Build the start of a cell from a run and save it as a network that `start` of a configuration can name."""
    first, last = run.network(0), run.network()
    assert last.masks is not None
    config = run.config
    fresh = models.build(config.model, **last.info["inputs"], seed=derive(config.seed, "transplant"))
    source = Source(first.state, last.state, last.masks, lambda epoch: run.network(epoch).state)
    kind, _, other = cell.signs.partition(":")
    start = build_start(
        cell,
        source,
        fresh.state_dict(),
        derive(config.seed, "cell"),
        masks=_scored(cell, config, fresh, last.masks),
        other=Run(other).network().state if kind == "run" else None,
    )
    counts = {"redrawn_signs": start.redrawn_signs, "redrawn_magnitudes": start.redrawn_magnitudes}
    save_network(path, start.state, start.masks, **counts)


def _scored(cell: Cell, config: Config, model: nn.Module, learned: Masks) -> Masks | None:
    """Masks of a cell whose mask is a score, on the freshly drawn network, at the density of the learned ones."""
    if cell.mask in ("learned", "shuffled"):
        return None
    score, distribution = score_and_distribution(cell.mask)
    settings = config.data
    data = datasets.load(settings.name, settings.root or None, augment=False, image_size=settings.image_size or None)
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


def _train(config: Config, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayer)
        train(config, folder)


def _row(source: SourceRun, start: str, folder: Path, info: Mapping[str, Any]) -> Row:
    summary = Run(folder).summary
    return {
        "source": source.label,
        "start": start,
        "seed": source.seed,
        "accuracy": summary["test_accuracy"],
        "density": summary["density"],
        "redrawn_signs": info["redrawn_signs"],
        "redrawn_magnitudes": info["redrawn_magnitudes"],
    }
