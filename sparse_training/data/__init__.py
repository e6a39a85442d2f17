"""Data sets of images and of text: `load` by name, batches on the device, an order from seed and epoch alone.

Nothing is downloaded, and no file of a data set can run code. `from_tensors` makes a data set of one's own images,
which it normalises, and `from_splits` one of any samples as they are.
"""

from sparse_training.data.base import Data
from sparse_training.data.loading import DATASETS, load
from sparse_training.data.resident import Augmentation, Images, from_tensors
from sparse_training.data.splits import Splits, from_splits

__all__ = ["DATASETS", "Augmentation", "Data", "Images", "Splits", "from_splits", "from_tensors", "load"]
