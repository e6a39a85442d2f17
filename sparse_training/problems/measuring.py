"""Tune the learning rate of every arm on seeds of its own, then run it on the seeds that are reported."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from commons.checks import InputError, choice, number
from commons.parallel import run_jobs
from sparse_training.problems.base import Arm, Problem, Runs

FIRST_TUNING_SEED = 1_000_000  # seeds below it are reported, those from it on only tune
SMALLEST_RATE, LARGEST_RATE = 2.0**-24, 2.0**24


@dataclass(frozen=True)
class Measured:
    """An arm at its tuned learning rate.

    tried: mean of the problem's quantity on the tuning seeds by learning rate.   runs: at `lr` on the reported seeds,
    (seeds, 1).
    """

    arm: Arm
    lr: float
    tried: dict[float, float]
    runs: Runs


def measure(
    problem: Problem,
    seeds: int,
    tuning_seeds: int,
    *,
    only: Sequence[str] = (),
    workers: int = 1,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> list[Measured]:
    """Every arm on the seeds 0, 1, ..., and after each Sign-In arm the layer rates with its mean speeds.

    only: labels of the arms that are wanted, beside the first, plain; empty means all.
    The result does not depend on workers, the number of processes (0: one a core).

    Raises:
        InputError: no seed, an unknown arm, or an arm that trains at no learning rate.
    """
    known = {arm.label: arm for arm in problem.arms()}
    wanted = dict.fromkeys([next(iter(known)), *only]) if only else known
    chosen = [known[choice("only", label, known)] for label in wanted]
    number("seeds", seeds, at_least=1, below=FIRST_TUNING_SEED + 1, integer=True)
    number("tuning_seeds", tuning_seeds, at_least=1, integer=True)
    number("workers", workers, at_least=0, integer=True)
    jobs = [(problem, arm, seeds, tuning_seeds) for arm in chosen]
    found: dict[int, list[Measured]] = {}
    alone = ((index, measure_arm(*job)) for index, job in enumerate(jobs))
    results = alone if workers == 1 else run_jobs(measure_arm, jobs, workers)
    for done, (index, measured) in enumerate(results, start=1):
        found[index] = measured
        progress(done, len(jobs))
    return [measured for index in sorted(found) for measured in found[index]]


def measure_arm(problem: Problem, arm: Arm, seeds: int, tuning_seeds: int) -> list[Measured]:
    """One arm, and its control where it needs one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors are small, and so numbers do not depend on the machine's cores
    try:
        found = [_measured(problem, arm, seeds, tuning_seeds)]
        if arm.needs_control:
            found.append(_measured(problem, arm.control(found[0].runs.speeds), seeds, tuning_seeds))
        return found
    finally:
        torch.set_num_threads(threads)


def tune(problem: Problem, arm: Arm, seeds: Sequence[int]) -> tuple[float, dict[float, float]]:
    """(the best rate, mean of the problem's quantity by rate): the grid of rates grows until the best is inside it.

    Raises:
        InputError: the best rate is beyond 2⁻²⁴ or 2²⁴.
    """
    tried: dict[float, float] = {}
    new = list(problem.rates)
    while new:
        losses = problem.run(arm, seeds, new).loss.mean(0)
        tried |= dict(zip(new, losses.tolist(), strict=True))
        best = min(sorted(tried), key=tried.__getitem__)
        if not SMALLEST_RATE <= best <= LARGEST_RATE:
            raise InputError(
                f"arm {arm.label!r} of {problem.name} has no best learning rate: lr={best:g} is still best"
            )
        new = [2 * best] if best == max(tried) else [best / 2] if best == min(tried) else []
    return best, dict(sorted(tried.items()))


def _measured(problem: Problem, arm: Arm, seeds: int, tuning_seeds: int) -> Measured:
    lr, tried = tune(problem, arm, arm.of(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tuning_seeds)))
    return Measured(arm, lr, tried, problem.run(arm, arm.of(range(seeds)), [lr], full=True))
