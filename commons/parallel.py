"""Independent jobs over worker processes that end with their parent, so that a killed command can be run again at once.

It knows nothing of what the jobs do; each job must keep its own results.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import Any, TypeVar

T = TypeVar("T")


def run_jobs(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int = 0) -> Iterator[tuple[int, T]]:
    """Yield (index of the job, function(*job)) as jobs end, over `workers` processes (0: one a core).

    Processes are spawned, with one thread each for numerical libraries; function and jobs must be picklable.
    The first job that raises cancels those not yet begun, and its exception is raised here.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 0:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_prepare_worker) as pool:
        futures = {pool.submit(function, *job): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """One numerical thread (the cores are shared by the workers), and an end when the parent ends, even by SIGKILL."""
    os.environ["OMP_NUM_THREADS"] = "1"
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
