"""Data sets of images and of text: `load` by name, batches on the device, an order from seed and epoch alone.

Nothing is downloaded, and no file of a data set can run code. `from_tensors` makes a data set of tensors of one's own.
"""

from sparse_training.data.base import Data
from sparse_training.data.loading import DATASETS, load
from sparse_training.data.resident import Augmentation, Images, from_tensors

__all__ = ["DATASETS", "Augmentation", "Data", "Images", "from_tensors", "load"]
