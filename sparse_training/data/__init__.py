"""Data sets of images: `load` by name, batches on the device, order and augmentation from the seed and the epoch alone.

Nothing is downloaded, and no file of a data set can run code.
"""

from sparse_training.data.base import Data
from sparse_training.data.loading import DATASETS, load

__all__ = ["DATASETS", "Data", "load"]
