"""What a worker does in a test of its threads; it imports torch at once, as the sweeps' own work does."""

import torch

from sparse_training.sweeps.job import Ending, Job


def threads(job: Job) -> tuple[Ending, str]:
    """Say how many threads torch would use."""
    return Ending.DONE, str(torch.get_num_threads())
