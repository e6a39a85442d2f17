"""RiGL: a sparse support that drops small weights and grows those with the largest gradients.

The number of active weights of each layer stays the same.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from commons.checks import number
from sparse_training.methods.lifecycle import Training
from sparse_training.methods.method import Method
from sparse_training.methods.schedules import cosine_drop
from sparse_training.methods.support import renewed, replace


@dataclass(frozen=True)
class RiGL(Method):
    """Rigging the lottery (Evci et al. 2020, algorithm 1), by default from a random ERK mask.

    every: steps between updates. fraction: share of each layer's active weights replaced at first, in a cosine to 0 at
    the share `end_at` of training. Grown weights start at 0 with zero momentum. replaces_step: whether an update takes
    the place of the gradient step, as in the original, or comes before it.
    """

    name: ClassVar[str] = "rigl"
    regrows: ClassVar[bool] = True
    sees_gradients: ClassVar[bool] = True

    every: int = 100
    fraction: float = 0.3
    end_at: float = 0.75
    replaces_step: bool = True

    def __post_init__(self) -> None:
        number("method.every", self.every, at_least=1)
        number("method.fraction", self.fraction, above=0, at_most=1)
        number("method.end_at", self.end_at, above=0, at_most=1)

    def on_gradient(self, training: Training, batch: tuple[Tensor, ...]) -> bool:
        drop = cosine_drop(training.done, self.fraction, self.end_at)
        if not training.step or training.step % self.every or not drop:
            return False
        gradients, weights = training.dense_gradient(*batch), training.sparse.weights()

        def new(name: str, mask: Tensor) -> Tensor:
            return replace(weights[name], mask, int(drop * int(mask.sum())), gradients[name].abs())

        training.sparse.set_masks(renewed(training.sparse, new), training.optimizer)
        return self.replaces_step
