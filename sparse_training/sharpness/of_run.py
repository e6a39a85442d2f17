"""The largest Hessian eigenvalue of finished runs by power iteration, kept in their folders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy

from commons.files import read_json, write_json
from commons.parallel import run_jobs
from sparse_training.runs.run import Run
from sparse_training.sharpness.operator import HessianOperator
from sparse_training.sharpness.power import power_iteration

FILE = "sharpness/largest.json"  # within the folder of a run


def largest_of_runs(
    folders: Sequence[Path],
    device: str,
    workers: int = 0,
    done: Callable[[int, int], object] = lambda finished, total: None,
) -> None:
    """Measure what is not measured yet, over processes; `largest_of_run` then returns it at once.

    done: called with the numbers of measured and of all runs.
    """
    done(0, len(folders))
    for finished, _ in enumerate(run_jobs(largest_of_run, [(folder, device) for folder in folders], workers), start=1):
        done(finished, len(folders))


def largest_of_run(folder: Path, device: str = "cpu") -> Mapping[str, Any]:
    """λ_max of the last network of a run: the Hessian in the active weights, merged, in evaluation mode, of the mean
    cross-entropy over all training images, without weight decay.

    Returns the fields of `Eigenpair` without the vector, None where one is not a number. They are kept in the folder
    with the digest of the network, and measured anew where that is another one. The start of the iteration is drawn
    from the seed of the run.
    """
    run, file = Run(folder), folder / FILE
    digest = run.network().digest()
    if file.exists() and (known := read_json(file)).get("network") == digest:
        return known
    samples = run.config.data.load(device=device).samples("train")
    operator = HessianOperator(run.model().to(device), cross_entropy, samples, masks=run.masks())
    pair = power_iteration(operator, seed=run.config.seed)
    numbers = {key: value for key, value in asdict(pair).items() if key != "vector"}
    found = {"network": digest, **{key: None if value != value else value for key, value in numbers.items()}}
    file.parent.mkdir(exist_ok=True)
    write_json(file, found)
    return found
