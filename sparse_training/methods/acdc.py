"""AC/DC: sparse and dense phases in turn, so that the support is chosen again and again; the last phase is sparse.

Within a phase the support stays the same.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from commons.checks import number
from sparse_training.masks import Masks
from sparse_training.methods.lifecycle import Start, Training
from sparse_training.methods.method import Method
from sparse_training.methods.schedules import alternating
from sparse_training.methods.support import keep_largest
from sparse_training.reparam import Sparse
from sparse_training.reparam.optimizer_states import zero_state


@dataclass(frozen=True)
class ACDC(Method):
    """Alternating compressed and decompressed training (Peste et al. 2021, section 4, constants of ImageNet).

    warm_up, phase, final: shares of training of the dense start, of each phase and of the last, sparse one. Compression
    keeps the largest |θ| of the whole network; decompression frees the rest from 0 and zeroes the optimizer's averages.
    """

    name: ClassVar[str] = "acdc"
    regrows: ClassVar[bool] = True
    begins_dense: ClassVar[bool] = True

    warm_up: float = 0.1
    phase: float = 0.05
    final: float = 0.15

    def __post_init__(self) -> None:
        number("method.warm_up", self.warm_up, at_least=0, below=1)
        number("method.phase", self.phase, above=0, at_most=1)
        number("method.final", self.final, above=0, at_most=1 - self.warm_up)

    def begin(self, start: Start) -> Sparse:
        if self._turn(0, start.total_steps):
            return start.sparsify(start.dense_masks())
        weights = {name: start.model.get_parameter(name).detach() for name in start.prunable}
        return start.sparsify(keep_largest(weights, start.density))

    def enter(self, training: Training) -> None:
        if self._turn(0, training.total_steps) is False:
            self.on_step(training)

    def on_step(self, training: Training) -> None:
        dense = self._turn(training.step, training.total_steps)
        if dense is None:
            return
        if dense:
            every = {layer.name: torch.ones_like(layer.mask) for layer in training.sparse.layers}
            training.sparse.set_masks(Masks(every), training.optimizer)
            zero_state(training.optimizer)
        else:
            masks = keep_largest(training.sparse.weights(), training.density)
            training.sparse.set_masks(masks, training.optimizer)

    def _turn(self, step: int, total_steps: int) -> bool | None:
        """Whether the phase that begins at this step is dense, or None where no phase begins."""
        phases = alternating(total_steps, self.warm_up, self.phase, self.final)
        return next((phase.dense for phase in phases if phase.begin == step), None)
