"""Which of sparse_training's experiments `reproduce` runs on digits: an ablation, and a transplant of each network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_training.runs.config import Config
    from sparse_training.sweeps import Sweep
    from sparse_training.transplant import Cell
    from sparse_training.transplant.sources import SourceRun

PRESETS = {"mlp": "digits-mlp", "cnn": "digits-cnn"}
ABLATION = "scratch"
METHOD = "gmp"  # gradual magnitude pruning of the dense network, from which the transplants come
# sparser than the arms: at 0.1 every start of digits does equally well; at 0.02 the cnn's source itself fails
DENSITIES = {"mlp": 0.02, "cnn": 0.05}
EARLY = (1, 3)  # of 30 epochs; the paper's are 10 and 30 of its 100

LEARNED_REST = "final signs + learned mask + learned normalization"

Advance = Callable[[str, int, int], object]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Trained:
    """A run in the folder `path`, of this model, arm and seed."""

    model: str
    arm: str
    seed: int
    path: Path


@dataclass(frozen=True)
class Digits:
    """The experiments of one reproduction: where they lie, on which device, with how many seeds."""

    out: Path
    device: str
    seeds: int
    workers: int = 0

    def check(self) -> None:
        """Refuse before the first step what would end a run later; raises InputError."""
        from sparse_training.ablation import check_variants
        from sparse_training.transplant.plan import check_plan

        for model in PRESETS:
            check_variants(self._sweep(model), self.workers)
        sources = [source for model in PRESETS for source in self.sources(model)]
        check_plan(sources, cells(), self._place("transplant"), self.workers)

    def arms(self) -> list[Trained]:
        """The arms of all models, trained or not."""
        from sparse_training.ablation import folders_of

        return [
            Trained(model, arm, seed, path)
            for model in PRESETS
            for arm, found in folders_of(self._sweep(model)).items()
            for seed, path in found.items()
        ]

    def train_arms(self, advance: Advance) -> list[Trained]:
        """Train the arms and measure their curvature; advance(what, done, total) is called as runs end."""
        from sparse_training.ablation import restore_folders, train_variants
        from sparse_training.sharpness.of_run import largest_of_runs

        for model in PRESETS:
            sweep = self._sweep(model)
            train_variants(sweep, workers=self.workers, progress=partial(advance, f"training {model}"))
            restore_folders(sweep, self.workers)
        arms = self.arms()
        largest_of_runs([arm.path for arm in arms], self.device, self.workers, partial(advance, "curvature"))
        return arms

    def ledgers(self) -> list[str]:
        """The ledgers of the arms, relative to `out`."""
        ledgers = [self._sweep(model).settings.ledger for model in PRESETS]
        return [ledger.relative_to(self.out).as_posix() for ledger in ledgers]

    def train_sources(self, advance: Advance) -> None:
        """Train the sources of the transplants."""
        self._run_cells([], partial(advance, "training sources"))

    def transplant(self, advance: Advance) -> Rows:
        """Train the cells, and sources that are missing; returns the rows of `run_cells`, whose source is the model."""
        return self._run_cells(cells(), partial(advance, "transplanting"))

    def _run_cells(self, chosen: "Sequence[Cell]", done: Callable[[int, int], object]) -> Rows:
        from sparse_training.transplant.experiment import run_cells

        return run_cells(
            [source for model in PRESETS for source in self.sources(model)],
            chosen,
            self._place("transplant"),
            workers=self.workers,
            done=done,
        )

    def sources(self, model: str) -> "Sequence[SourceRun]":
        """The runs from which the starts of a model come, trained or not."""
        from sparse_training.transplant.sources import planned

        config = self._config(model).with_set([f"mask.density={DENSITIES[model]}", f"method={METHOD}"])
        return planned(model, config, range(self.seeds), self._place("transplant"))

    def cell_folders(self) -> list[Path]:
        """The folders of all cells, once the sources are trained."""
        from sparse_training.transplant.sources import cell_folder

        return [
            cell_folder(source, cell, self._place("transplant"))
            for model in PRESETS
            for source in self.sources(model)
            for cell in cells()
        ]

    def _sweep(self, model: str) -> "Sweep":
        from sparse_training.ablation import ABLATIONS, sweep_of

        return sweep_of(ABLATIONS[ABLATION](), self._config(model), range(self.seeds), self._place("runs") / model)

    def _config(self, model: str) -> "Config":
        from sparse_training.runs.config import Config

        return Config.preset(PRESETS[model]).with_set([f"engine.device={self.device}"])

    def _place(self, kind: str) -> Path:
        return self.out / kind


def cells() -> "list[Cell]":
    """The rows of the paper's table, and two starts with final signs that keep more.

    One keeps the final magnitudes, the other biases and normalizations with their running statistics.
    """
    from sparse_training.transplant import Cell, paper_cells

    both = Cell(signs="final", magnitudes="learned", label="final signs + final magnitudes + learned mask")
    rest = Cell(signs="final", magnitudes="random", rest="learned", label=LEARNED_REST)
    return [*paper_cells(EARLY), both, rest]
