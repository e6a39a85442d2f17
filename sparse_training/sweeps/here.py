"""Make all runs of a sweep on this machine, for callers that need every one of them."""

from commons.checks import InputError
from sparse_training.sweeps.execute import Sweep
from sparse_training.sweeps.job import configuration_of
from sparse_training.sweeps.local import Local, usual_workers
from sparse_training.training.loop import PreemptedError
from sparse_training.training.many import Done, check_runs


def check_here(sweep: Sweep, workers: int = 0) -> None:
    """Raise InputError, before the first step, for what would end a run later; see `check_runs`."""
    check_runs([configuration_of(job) for job in sweep.jobs], [job.folder for job in sweep.jobs], workers)


def run_here(
    sweep: Sweep, workers: int = 0, done: Done = lambda finished, total: None, *, may_diverge: bool = False
) -> None:
    """Make what the ledger lacks in `workers` processes, 0 for one a core.

    done: called with the numbers of finished and of all runs. may_diverge: whether a run that diverges is a result.

    Raises:
        InputError: a run failed or diverged; all others are made.
        PreemptedError: SIGTERM or SIGUSR1 came; the states are saved.
    """
    total = len({job.address for job in sweep.jobs})
    with Local(workers or usual_workers()) as executor:
        complete = sweep.run(executor, look=lambda sweep: done(len(sweep.finished()), total), seconds=0.5)
    for reason in sweep.failed.values():
        raise InputError(reason)
    if not complete:
        raise PreemptedError("stopped by a signal; the same call goes on")
    for job in () if may_diverge else sweep.jobs:
        diverged = sweep.ledger.at(job.address)[0]["diverged"]
        if diverged is not None:
            raise InputError(f"{job.arm}, seed {job.seed}: {diverged}")
