"""SET: a sparse support that drops small weights and grows random ones, once an epoch.

The number of active weights of each layer stays the same.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from commons.checks import number
from sparse_training.methods.lifecycle import Training
from sparse_training.methods.method import Method
from sparse_training.methods.support import renewed, replace


@dataclass(frozen=True)
class SET(Method):
    """Sparse evolutionary training (Mocanu et al. 2018), by default from a random ERK mask.

    fraction: share ζ of each layer's active weights replaced after every epoch but the last (0.3, their methods).
    What is dropped is smallest in |θ|; what grows starts at 0, where the original draws it, so that no sign is given.
    """

    name: ClassVar[str] = "set"
    regrows: ClassVar[bool] = True
    by_epoch: ClassVar[bool] = True

    fraction: float = 0.3

    def __post_init__(self) -> None:
        number("method.fraction", self.fraction, above=0, at_most=1)

    def on_step(self, training: Training) -> None:
        if training.step % training.steps_per_epoch or training.step == training.total_steps:
            return
        weights = training.sparse.weights()

        def new(name: str, mask: Tensor) -> Tensor:
            growth = torch.rand(mask.shape, generator=training.generator).to(mask.device)
            return replace(weights[name], mask, int(self.fraction * int(mask.sum())), growth)

        training.sparse.set_masks(renewed(training.sparse, new), training.optimizer)
