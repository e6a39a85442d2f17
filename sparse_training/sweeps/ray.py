"""Runs on a Ray cluster: an existing one by its address, or one on this machine that begins and ends with the sweep.

The package must be installed on every node, and the sweep's folder must lie on storage that all nodes share. A run
whose worker or node is lost goes on elsewhere from its last state.
"""

import os
from collections.abc import Sequence
from typing import Any

from commons.checks import InputError
from sparse_training.sweeps.executor import Ended, Executor
from sparse_training.sweeps.job import Ending, Job, perform


class Ray(Executor):
    """Tasks of Ray. address: of the cluster, "" for one on this machine with `slots` cores. cpus, gpus: of a run, also
    in fractions, so that several runs share one GPU.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, slots: int, address: str = "", cpus: float = 1, gpus: float = 0) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise InputError("--on ray needs Ray: pip install 'sign-in-lottery[ray]'") from None
        self._ray, self.slots = ray, slots
        self._running: dict[Any, Job] = {}
        variables = {"OMP_NUM_THREADS": "1"} if cpus <= 1 else {}
        options: dict[str, Any] = {"runtime_env": {"env_vars": variables}, "log_to_driver": False}
        if not address:
            options |= {"address": "local", "num_cpus": slots, "include_dashboard": False}
        else:
            options["address"] = address
        try:
            ray.init(logging_level="ERROR", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"address={address!r} has no Ray cluster: {' '.join(str(error).split())}") from None
        # Ray must not retry by itself: the sweep does, when it has seen whether the run went on.
        self._perform = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0)(perform)

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._running[self._perform.remote(job)] = job

    def wait(self, seconds: float) -> list[Ended]:
        ready, _ = self._ray.wait(list(self._running), timeout=seconds) if self._running else ([], [])
        return [Ended(self._running.pop(task), *self._answer(task)) for task in ready]

    def stop(self) -> None:
        for task in self._running:
            self._ray.cancel(task)  # the run keeps the state of its last epoch
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=60)
        self._running.clear()

    def close(self) -> None:
        self.stop()
        self._ray.shutdown()

    def _answer(self, task: Any) -> tuple[Ending, str]:
        try:
            answer: tuple[Ending, str] = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return Ending.DIED, str(error)
        return answer
