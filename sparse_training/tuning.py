"""Give each variant of an ablation its best learning rate, found on seeds that the ablation does not report.

A variant may also take over, from the runs of another one, the speeds of its layers or the decay that matches its.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from commons.checks import InputError, choice
from sparse_training.reparam import LayerRates
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.sweeps import Plan, Settings, Sweep
from sparse_training.sweeps.here import run_here
from sparse_training.sweeps.plan import Treatment
from sparse_training.training.many import Done

if TYPE_CHECKING:
    from sparse_training.ablation import Variant

SEEDS = range(1000, 1005)
RATE = "optimizer.lr"
ROUNDS = 8  # of a search: each adds one value beyond the edge at which the best lies


@dataclass(frozen=True)
class Tuned:
    """A variant at its best learning rate.

    variant: with the rate and what it takes from others among its settings. folders: of the runs at the best rate.
    """

    variant: "Variant"
    folders: tuple[Path, ...]


def tuned(
    variants: Sequence["Variant"],
    config: Config,
    runs: Path,
    workers: int = 0,
    progress: Done = lambda done, total: None,
) -> list["Variant"]:
    """The variants, those with a grid at their best learning rate; nothing is trained where none has one.

    The rate with the highest mean test accuracy over `SEEDS` is taken, the smaller one of equals. The grid grows by
    factors of 2 until the best is not at its edge. A variant that takes something from another one comes after it.

    config: the base configuration. runs: folder of the runs, in a ledger of their own. workers: processes, 0 for one a
    core. progress: called with the numbers of finished and of all runs of the present variant.

    Raises:
        InputError: a run fails, the best stays at an edge, or a variant takes from one that is not tuned before it.
    """
    found: dict[str, Tuned] = {}
    chosen = []
    for variant in variants:
        settings = (*variant.settings, *_taken(variant, found))
        if variant.grid:
            found[variant.label] = _search(replace(variant, settings=settings), config, runs, workers, progress)
            chosen.append(found[variant.label].variant)
        else:
            chosen.append(replace(variant, settings=settings))
    return chosen


def _taken(variant: "Variant", found: dict[str, Tuned]) -> list[str]:
    """Settings that a variant takes from the runs of others."""
    settings = []
    if variant.speeds_of:
        choice("speeds_of", variant.speeds_of, list(found))
        lines = [line for folder in found[variant.speeds_of].folders for line in Run(folder).metrics()]
        rates = LayerRates.of_metrics(lines)
        values, names = ([float(f"{rate:.4g}") for rate in rates.rates_of], '", "'.join(rates.layers))
        settings += ["scaling=layer-rates", f"scaling.rates_of={values}", f'scaling.layers=["{names}"]']
    if variant.decay_of:
        choice("decay_of", variant.decay_of, list(found))
        lines = [line["speeds"] for folder in found[variant.decay_of].folders for line in Run(folder).metrics()]
        decay = fmean(layer["decay"] for line in lines for layer in line.values())
        settings += [f"optimizer.weight_decay={decay:.4g}"]
    return settings


def _search(variant: "Variant", config: Config, runs: Path, workers: int, progress: Done) -> Tuned:
    """The variant at its best learning rate."""
    folders: dict[float, tuple[Path, ...]] = {}

    def accuracies(new: Sequence[float]) -> list[float]:
        at = {rate: config.with_set([*variant.settings, f"{RATE}={rate}"]) for rate in new}
        treatments = tuple(Treatment(variant.label, {RATE: rate}, one) for rate, one in at.items())
        sweep = Sweep(Plan("tuning", treatments, tuple(SEEDS)), Settings(runs, runs / "ledger.jsonl"))
        run_here(sweep, workers, progress, may_diverge=True)
        means = []
        for rate in new:
            jobs = [job for job in sweep.jobs if job.point[RATE] == rate]
            lines = [sweep.ledger.at(job.address)[0] for job in jobs]
            diverged = any(line["diverged"] for line in lines)
            means.append(0.0 if diverged else fmean(line["metrics"]["test_accuracy"] for line in lines))
            folders[rate] = tuple(job.folder for job in jobs)
        return means

    best = next(iter(best_inside(variant.grid, accuracies)))
    return Tuned(replace(variant, settings=(*variant.settings, f"{RATE}={best}")), folders[best])


def best_inside(grid: Sequence[float], accuracies: Callable[[Sequence[float]], list[float]]) -> dict[float, float]:
    """The values by a growing grid, the best first, the smaller one of equals.

    grid: the first values. accuracies: gives what is to be as large as possible, for each of some new values. While the
    best lies at an edge, the grid grows there by a factor of 2.

    Raises:
        InputError: after `ROUNDS` rounds the best still lies at an edge.
    """
    found: dict[float, float] = {}
    new = sorted(grid)
    for _ in range(ROUNDS):
        found |= dict(zip(new, accuracies(new), strict=True))
        order = sorted(found, key=lambda value: (-found[value], value))
        if min(found) < order[0] < max(found):
            return {value: found[value] for value in order}
        new = [order[0] / 2 if order[0] == min(found) else order[0] * 2]
    raise InputError(f"the best learning rate is at the edge of {sorted(found)}; begin the grid elsewhere")
