"""Iterative magnitude pruning over whole trainings: with weight rewinding (IMP) or with the learning rate's only (LRR).

Every level trains for the configured epochs; a pruned weight never comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from commons.checks import number
from sparse_training.methods.lifecycle import Method, Training
from sparse_training.methods.schedules import levels
from sparse_training.methods.support import keep_largest, zero_state


@dataclass
class LRR(Method):
    """Learning-rate rewinding (Renda et al. 2020): train, prune, go on from the trained weights with a new schedule.

    share: of the remaining weights removed at each level (20 %, their section 3); the last level ends on the target.
    The weights of the whole network are ranked by |θ|; the optimizer starts each level anew.
    """

    name: ClassVar[str] = "lrr"

    share: float = 0.2

    def __post_init__(self) -> None:
        number("method.share", self.share, above=0, below=1)

    def cycles(self, density: float) -> int:
        return len(levels(density, self.share))

    def begin(self, training: Training) -> None:
        training.sparsify(training.dense_masks())

    def on_step(self, training: Training) -> None:
        if training.step % training.cycle_steps or training.step == training.total_steps:
            return
        density = levels(training.config.mask.density, self.share)[training.step // training.cycle_steps]
        masks = keep_largest(training.sparse.weights(), density, within=training.sparse.masks)
        self.rewind_weights(training)
        training.sparse.set_masks(masks, training.optimizer)
        zero_state(training.optimizer)

    def rewind_weights(self, training: Training) -> None:
        """The weights stay as they were trained."""


@dataclass
class IMP(LRR):
    """Iterative magnitude pruning with weight rewinding (Frankle et al. 2020): each level starts from the same weights.

    rewind: the share of the first training after which every parameter and buffer is kept for the levels that follow;
    0 is the initialization (Frankle & Carbin 2019), and larger networks need some percent.
    """

    name: ClassVar[str] = "imp"

    rewind: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        number("method.rewind", self.rewind, at_least=0, below=1)

    def begin(self, training: Training) -> None:
        super().begin(training)
        self._kept: dict[str, Tensor] = {}
        self._keep_if_due(training)

    def on_step(self, training: Training) -> None:
        self._keep_if_due(training)
        super().on_step(training)

    def rewind_weights(self, training: Training) -> None:
        with torch.no_grad():
            for name, value in training.model.state_dict().items():
                value.copy_(self._kept[name])

    def _keep_if_due(self, training: Training) -> None:
        if training.step == round(self.rewind * training.cycle_steps):
            self._kept = {name: value.detach().clone() for name, value in training.model.state_dict().items()}

    def state_dict(self) -> dict[str, Tensor]:
        return self._kept

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._kept = dict(state)
