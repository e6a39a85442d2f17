"""Runs on this machine: worker processes with one thread each, started anew when they die, gone when the parent is.

A worker keeps what is slow to get, such as imported packages, for all its runs.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from commons.parallel import ONE_THREAD, environment
from sparse_training.sweeps.executor import Ended, Executor
from sparse_training.sweeps.job import Ending, Job, perform

SAVING_SECONDS = 60  # for a run to save its state when it is stopped

Perform = Callable[[Job], tuple[Ending, str]]


def usual_workers(processes: int = 1) -> int:
    """One run a core; on a machine with a GPU one for three cores, as one GPU serves several small runs.

    processes: of each run.
    """
    import torch

    cores = os.cpu_count() or 1
    return max(1, cores // (3 if torch.cuda.is_available() else 1) // processes)


class Local(Executor):
    """A pool of `slots` processes. work: what a process does with a job; must be importable."""

    def __init__(self, slots: int, work: Perform = perform) -> None:
        self.slots = slots
        self._work = work
        self._idle: list[_Worker] = []
        self._busy: list[tuple[_Worker, Job]] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._idle = [worker for worker in self._idle if worker.process.is_alive()]
            worker = self._idle.pop() if self._idle else _Worker(self._work)
            worker.pipe.send(job)
            self._busy.append((worker, job))

    def wait(self, seconds: float) -> list[Ended]:
        wait([worker.pipe for worker, _ in self._busy], seconds)  # a pipe whose other end is gone is ready, too
        ended, busy = [], []
        for worker, job in self._busy:
            if not worker.pipe.poll():
                busy.append((worker, job))
                continue
            answer = worker.answer()
            ended.append(Ended(job, *answer))
            if worker.process.is_alive():
                self._idle.append(worker)
        self._busy = busy
        return ended

    def stop(self) -> None:
        for worker, _ in self._busy:
            worker.process.terminate()
        until = time.monotonic() + SAVING_SECONDS
        while self._busy and time.monotonic() < until:
            self.wait(0.2)

    def close(self) -> None:
        self.stop()
        for worker in [*self._idle, *(worker for worker, _ in self._busy)]:
            worker.process.kill()
            worker.process.join()
        self._idle, self._busy = [], []

    @property
    def process_ids(self) -> list[int]:
        """Of the workers that have a job."""
        return [worker.process.pid for worker, _ in self._busy if worker.process.pid is not None]


class _Worker:
    """A process and this end of the pipe to it."""

    def __init__(self, work: Perform) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with environment(ONE_THREAD):  # before the process imports torch, which it does to find `work`
            self.process.start()
        theirs.close()

    def answer(self) -> tuple[Ending, str]:
        """What it sent, or that it died."""
        try:
            answer: tuple[Ending, str] = self.pipe.recv()
            return answer
        except (EOFError, OSError):
            self.process.join()
            return Ending.DIED, f"its process ended with status {self.process.exitcode}"


def _serve(pipe: Connection, work: Perform) -> None:
    """Do the jobs that come through the pipe, one after another, in the main thread, where signals arrive."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is asked as well, and stops its workers
    _end_with_parent()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            answer = work(job)
        except Exception:
            answer = (Ending.DIED, traceback.format_exc())
        pipe.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
