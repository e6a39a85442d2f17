"""Which of sparse_training's experiments `reproduce` runs on digits: an ablation, and a transplant of each network."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparse_training.runs.config import Config
    from sparse_training.sweeps import Sweep
    from sparse_training.sweeps.plan import Treatment
    from sparse_training.transplant import Cell

PRESETS = {"mlp": "digits-mlp", "cnn": "digits-cnn"}
ABLATION = "scratch"
METHOD = "gmp"  # gradual magnitude pruning of the dense network, from which the transplants come
# sparser than the arms: at 0.1 every start of digits does equally well; at 0.02 the cnn's source itself fails
DENSITIES = {"mlp": 0.02, "cnn": 0.05}
EARLY = (1,)  # of 30 epochs; the paper's are 10 and 30 of its 100. On digits the signs of epoch 3 are the last ones

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
        from sparse_training.sweeps.here import check_here
        from sparse_training.transplant.plan import check_plan

        for model in PRESETS:
            check_here(self._sweep(model), self.workers)
        check_plan(self._transplants(), self.workers)

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
        """The ledgers of arms and transplants, relative to `out`."""
        sweeps = [*(self._sweep(model) for model in PRESETS), self._transplants()]
        return [sweep.settings.ledger.relative_to(self.out).as_posix() for sweep in sweeps]

    def folders(self) -> list[Path]:
        """The folders of all runs, made or not."""
        return [*(arm.path for arm in self.arms()), *(job.folder for job in self._transplants().jobs)]

    def transplant(self, advance: Advance) -> Rows:
        """Train sources and cells; returns the rows of `run_cells`, whose source is the model."""
        from sparse_training.transplant.experiment import run_cells

        return run_cells(
            self._sources(),
            cells(),
            self._place("transplant"),
            seeds=range(self.seeds),
            workers=self.workers,
            progress=partial(advance, "transplanting"),
        )

    def _sources(self) -> "list[Treatment]":
        """The runs from which the starts of each model come."""
        from sparse_training.transplant.sources import planned

        return [
            planned(model, self._config(model).with_set([f"mask.density={density}", f"method={METHOD}"]))
            for model, density in DENSITIES.items()
        ]

    def _transplants(self) -> "Sweep":
        from sparse_training.transplant.plan import sweep_of

        return sweep_of(self._sources(), cells(), self._place("transplant"), range(self.seeds))

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
