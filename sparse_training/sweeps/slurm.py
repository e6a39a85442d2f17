"""Runs as job arrays of Slurm, submitted by submitit: requeued when they are preempted, and gone on with.

The sweep's folder must lie on storage that all nodes share. The command waits for the jobs; to interrupt it cancels
them, and the same command goes on.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commons.checks import InputError
from sparse_training.sweeps.executor import Ended, Executor
from sparse_training.sweeps.job import Ending, Job, perform

POLL_SECONDS = 1.0


class Requeued:
    """A job that Slurm may interrupt: submitit then submits what `checkpoint` returns, and the run goes on."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self) -> tuple[Ending, str]:
        return perform(self.job)

    def checkpoint(self) -> Any:
        """The same again; the run's folder holds the state of its last epoch."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Slurm(Executor):
    """Arrays of at most `slots` jobs at a time. folder: of submitit's scripts and logs.

    parameters: of submitit's AutoExecutor, such as slurm_partition, timeout_min, cpus_per_task and gpus_per_node.
    cluster: "slurm", or submitit's "local", which starts processes on this machine.

    Raises:
        InputError: submitit is not installed, there is no Slurm, or it knows no such parameter.
    """

    def __init__(self, slots: int, folder: Path, parameters: Mapping[str, Any], cluster: str = "slurm") -> None:
        try:
            import submitit
        except ImportError:
            raise InputError("--on slurm needs submitit: pip install 'sign-in-lottery[slurm]'") from None
        self.slots = slots
        self._failures = submitit.core.utils.UncompletedJobError, submitit.core.utils.FailedJobError
        self._running: list[tuple[Any, Job]] = []
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
            shared = {"name": "sweep", "slurm_array_parallelism": slots}
            self._executor.update_parameters(**(shared | dict(parameters)))
        except (RuntimeError, TypeError, ValueError, NameError) as error:
            raise InputError(f"slurm: {' '.join(str(error).split())}") from None

    def submit(self, jobs: Sequence[Job]) -> None:
        if jobs:
            with self._executor.batch():  # one array
                submitted = [self._executor.submit(Requeued(job)) for job in jobs]
            self._running += zip(submitted, jobs, strict=True)

    def wait(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        while True:
            ended = [(task, job) for task, job in self._running if task.done()]
            if ended or time.monotonic() >= until:
                break
            time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))
        self._running = [(task, job) for task, job in self._running if (task, job) not in ended]
        return [Ended(job, *self._answer(task)) for task, job in ended]

    def stop(self) -> None:
        for task, _ in self._running:
            task.cancel()
        until = time.monotonic() + 60
        while any(not task.done() for task, _ in self._running) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        self._running = []

    def close(self) -> None:
        self.stop()

    def _answer(self, task: Any) -> tuple[Ending, str]:
        try:
            answer: tuple[Ending, str] = task.result()
        except self._failures as error:
            return Ending.DIED, str(error)
        return answer
