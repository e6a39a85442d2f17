"""Iterative magnitude pruning over whole trainings: with weight rewinding (IMP) or with the learning rate's only (LRR).

Every level trains for the configured epochs; a pruned weight never comes back.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from commons.checks import number
from sparse_training.methods.lifecycle import Start, Terms, Training
from sparse_training.methods.method import Method
from sparse_training.methods.schedules import levels
from sparse_training.methods.support import keep_largest
from sparse_training.reparam import Sparse
from sparse_training.reparam.optimizer_states import zero_state


@dataclass(frozen=True)
class LRR(Method):
    """Learning-rate rewinding (Renda et al. 2020): train, prune, go on from the trained weights with a new schedule.

    share: of the remaining weights removed at each level (20 %, their section 3); the last level ends on the target.
    The weights of the whole network are ranked by |θ|; the optimizer starts each level anew.
    """

    name: ClassVar[str] = "lrr"
    begins_dense: ClassVar[bool] = True

    share: float = 0.2

    def __post_init__(self) -> None:
        number("method.share", self.share, above=0, below=1)

    def cycles(self, density: float) -> int:
        return len(levels(density, self.share))

    def begin(self, start: Start) -> Sparse:
        return start.sparsify(start.dense_masks())

    def on_step(self, training: Training) -> None:
        if training.step % training.cycle_steps or training.step == training.total_steps:
            return
        density = levels(training.density, self.share)[training.step // training.cycle_steps]
        masks = keep_largest(training.sparse.weights(), density, within=training.sparse.masks)
        self.rewind_weights(training)
        training.sparse.set_masks(masks, training.optimizer)
        zero_state(training.optimizer)

    def rewind_weights(self, training: Training) -> None:
        """Leave the weights as they were trained."""


@dataclass(frozen=True)
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

    def begin(self, start: Start) -> Sparse:
        sparse = super().begin(start)
        if self._due(0, start):
            start.memory.update(_copies(sparse.model))
        return sparse

    def enter(self, training: Training) -> None:
        if self._due(0, training):
            training.memory.update(_copies(training.model))

    def on_step(self, training: Training) -> None:
        if self._due(training.step, training):
            training.memory.update(_copies(training.model))
        super().on_step(training)

    @torch.no_grad()
    def rewind_weights(self, training: Training) -> None:
        for name, value in _tensors(training.model).items():
            value.copy_(training.memory[name])

    def _due(self, step: int, terms: Terms) -> bool:
        """Whether the weights after this step are those that the levels rewind to."""
        return step == round(self.rewind * terms.cycle_steps)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name; masks, which are boolean, are the support's and are not rewound."""
    return {name: value for name, value in model.state_dict().items() if value.dtype != torch.bool}


def _copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in _tensors(model).items()}
