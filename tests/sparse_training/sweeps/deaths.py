"""What a worker does in a test of dying workers; it imports nothing heavy, so that workers are there at once."""

import os
import signal

from sparse_training.sweeps.job import Ending, Job
from sparse_training.sweeps.ledger import Ledger


def deadly(job: Job) -> tuple[Ending, str]:
    """The first run of the arm "plain" kills its worker; others are done at once."""
    if (job.arm, job.seed) == ("plain", 0):
        os.kill(os.getpid(), signal.SIGKILL)
    line = {"kind": "run", "address": job.address, "sweep": job.sweep, "arm": job.arm, "point": dict(job.point)}
    Ledger(job.ledger).append(line)
    return Ending.DONE, ""
