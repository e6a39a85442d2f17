"""The sources of a transplant: which runs they are, where they lie, and where the cells that start from them lie."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from commons.checks import refuse
from sparse_training.runs.address import address, folder_name, network_digest, slug
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.runs.trust import Trust
from sparse_training.signs import SignHistory
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.start import Weights
from sparse_training.transplant.verdict import BASELINE


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

    @property
    def finished(self) -> bool:
        """Whether the source is trained to its end."""
        return (self.folder / "summary.json").exists()

    def place(self, out: Path) -> Path:
        """The folder below `out` in which the runs of this source lie."""
        return out / slug(self.label) / f"seed-{self.seed}"


def planned(label: str, config: Config, seeds: Sequence[int], out: Path) -> list[SourceRun]:
    """Sources to train, one a seed, in folders below `out` that are named by their whole configuration."""
    found = []
    for seed in seeds:
        own = replace(config, seed=seed)
        place = SourceRun(label, own, out).place(out)
        found.append(SourceRun(label, own, place / folder_name(BASELINE, address(own))))
    return found


def given(folders: Sequence[str | Path], trust: Trust = False) -> list[SourceRun]:
    """Finished runs as sources, labelled by their method; trust as in `Run`.

    Raises:
        InputError: a folder holds no finished run, or two runs of one method do not differ in their seed alone.
    """
    sources: list[SourceRun] = []
    for folder in folders:
        run = Run(folder, trust)
        if not run.finished:
            refuse("source", str(folder), "a finished run", "train it to its end first")
        for other in sources:
            if other.label != run.config.method.name:
                continue
            if other.seed == run.config.seed or replace(other.config, seed=run.config.seed) != run.config:
                refuse("source", str(folder), f"the run of {other.folder} with another seed")
        sources.append(SourceRun(run.config.method.name, run.config, Path(folder)))
    return sources


def cell_address(source: SourceRun, cell: Cell) -> str:
    """Digest of all that determines a cell: the configuration and the final network of its finished source, the choices
    of the cell, and the final network of the other run that it may name."""
    signs = f"run:{network_digest(Run(cell.other_run).network())}" if cell.other_run else cell.signs
    choices = (cell.mask, signs, cell.magnitudes, cell.rest)
    return address(source.config, network_digest(Run(source.folder).network()), *choices)


def cell_folder(source: SourceRun, cell: Cell, out: Path) -> Path:
    """Where `train_cell` trains a cell of a finished source."""
    return source.place(out) / folder_name("-".join(cell.choices), cell_address(source, cell))


def start_file(folder: Path) -> Path:
    """Where `train_cell` keeps the start of the cell that it trains in this folder."""
    return folder.with_name(f"{folder.name}.start.safetensors")


def signs_at(run: Run, epoch: int) -> Weights:
    """Signs of a run at an epoch, from the history, which has every epoch, or else from the saved network."""
    history = _history(run)
    return history.signs(epoch) if history and epoch in history.epochs else run.network(epoch).state


def _history(run: Run) -> SignHistory | None:
    return SignHistory(run.signs_file) if run.signs_file.exists() else None


def recorded(source: SourceRun) -> list[int]:
    """The epochs whose signs a finished source has, ascending."""
    run = Run(source.folder)
    history = _history(run)
    return sorted({*run.epochs, *(history.epochs if history else ())})
