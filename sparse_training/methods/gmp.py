"""Gradual magnitude pruning: the smallest weights go, a few at a time, on a cubic schedule that ends on the target.

A pruned weight never comes back.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from commons.checks import number
from sparse_training.methods.lifecycle import Start, Training
from sparse_training.methods.method import Method
from sparse_training.methods.schedules import cubic_density
from sparse_training.methods.support import keep_largest
from sparse_training.reparam import Sparse


@dataclass(frozen=True)
class GMP(Method):
    """Zhu & Gupta 2017: dense until the share `begin_at` of training, at the target density from `end_at` on.

    begin_at, end_at: shares of training; every: steps between prunings (100, their section 3). The weights of the
    whole network are ranked by |θ|.
    """

    name: ClassVar[str] = "gmp"
    begins_dense: ClassVar[bool] = True

    begin_at: float = 0.2
    end_at: float = 0.8
    every: int = 100

    def __post_init__(self) -> None:
        number("method.begin_at", self.begin_at, at_least=0, below=1)
        number("method.end_at", self.end_at, above=self.begin_at, at_most=1)
        number("method.every", self.every, at_least=1)

    def begin(self, start: Start) -> Sparse:
        return start.sparsify(start.dense_masks())

    def on_step(self, training: Training) -> None:
        first, last = (math.ceil(share * training.total_steps) for share in (self.begin_at, self.end_at))
        due = first <= training.step < last and (training.step - first) % self.every == 0
        if not due and training.step != last:
            return
        target = training.density
        density = target if training.step == last else cubic_density(training.done, target, self.begin_at, self.end_at)
        masks = keep_largest(training.sparse.weights(), density, within=training.sparse.masks)
        training.sparse.set_masks(masks, training.optimizer)
