"""AC/DC: sparse and dense phases in turn, so that the support is chosen again and again; the last phase is sparse.

Within a phase the support never changes.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from commons.checks import number
from sparse_training.masks import Masks
from sparse_training.methods.lifecycle import Method, Training
from sparse_training.methods.schedules import alternating
from sparse_training.methods.support import keep_largest, zero_state


@dataclass
class ACDC(Method):
    """Alternating compressed and decompressed training (Peste et al. 2021, section 4, constants of ImageNet).

    warm_up, phase, final: shares of training of the dense start, of each phase and of the last, sparse one. Compression
    keeps the largest |θ| of the whole network; decompression frees the rest from 0 and zeroes the optimizer's averages.
    """

    name: ClassVar[str] = "acdc"
    reparams: ClassVar[tuple[str, ...]] = ("sign-in", "ham", "pilot")

    warm_up: float = 0.1
    phase: float = 0.05
    final: float = 0.15

    def __post_init__(self) -> None:
        number("method.warm_up", self.warm_up, at_least=0, below=1)
        number("method.phase", self.phase, above=0, at_most=1)
        number("method.final", self.final, above=0, at_most=1 - self.warm_up)

    def begin(self, training: Training) -> None:
        phases = alternating(training.total_steps, self.warm_up, self.phase, self.final)
        self._dense_from = {phase.begin: phase.dense for phase in phases}
        dense = training.dense_masks()
        weights = {name: training.model.get_parameter(name).detach() for name in dense}
        training.sparsify(dense if phases[0].dense else keep_largest(weights, training.config.mask.density))

    def on_step(self, training: Training) -> None:
        if training.step not in self._dense_from:
            return
        if self._dense_from[training.step]:
            every = {name: torch.ones_like(mask) for name, mask in training.sparse.masks.items()}
            training.sparse.set_masks(Masks(every), training.optimizer)
            zero_state(training.optimizer)
        else:
            masks = keep_largest(training.sparse.weights(), training.config.mask.density)
            training.sparse.set_masks(masks, training.optimizer)
