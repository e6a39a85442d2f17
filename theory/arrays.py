"""The type of every numerical argument and result in this room."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
