"""Independent jobs over worker processes that end with their parent, or with its call, however that ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from commons.checks import InputError

T = TypeVar("T")
# Of a worker, since workers share the cores; a process must have it before it imports torch.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started within the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run_jobs(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], workers: int = 0) -> Iterator[tuple[int, T]]:
    """Yield (index of the job, function(*job)) as jobs end, over `workers` processes (0: one a core).

    Each job must keep its own results. Processes are spawned, with one thread each for numerical libraries; function
    and jobs must be picklable. The first job that raises cancels those not yet begun, and its exception is raised here
    once the others have ended. An interrupt (SIGINT, Ctrl-C) ends the workers at once.

    Raises:
        InputError: a worker was killed from outside, for example because memory ran out.
    """
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count == 0:
        return
    context = multiprocessing.get_context("spawn")
    ended, lifeline = context.Pipe(duplex=False)  # workers end when the lifeline is closed
    with (
        ended,
        lifeline,
        ProcessPoolExecutor(count, mp_context=context, initializer=_prepare_worker, initargs=(ended,)) as pool,
    ):
        with environment(ONE_THREAD):  # of the processes, which the first jobs start
            futures = {pool.submit(function, *job): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise InputError("a worker process was killed, perhaps for want of memory; the same call goes on") from None
        except (KeyboardInterrupt, GeneratorExit):
            lifeline.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare_worker(ended: Connection) -> None:
    """An end when the parent or its call ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes, and the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        wait([parent.sentinel, ended])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
