"""What a training method is: three moments of a run at which it may act, and the state it takes through a restart.

It never runs the loop: engine.py does, the same one for every method.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from sparse_training.masks import Masks, prunable
from sparse_training.reparam.sparse import Sparse

if TYPE_CHECKING:
    from sparse_training.data import Data
    from sparse_training.runs.config import Config


@dataclass
class Training:
    """A run in progress, as a method sees it.

    step: optimizer steps finished, in [0, total_steps]; inside `on_step` the step just made is counted.
    cycle_steps: steps of one pass through the learning-rate schedule; total_steps is `Method.cycles` of them.
    start_masks: `start_masks()`, for `begin`: those that the configuration asks for, at its density.
    sparse: the network with its masks, from `sparsify` on. optimizer: built after `Method.begin`, over every parameter
    that the network then has. generator: the method's own CPU stream, kept through a restart.
    """

    config: "Config"
    data: "Data"
    model: nn.Module
    device: torch.device
    steps_per_epoch: int
    cycle_steps: int
    total_steps: int
    generator: torch.Generator
    start_masks: Callable[[], Masks]
    step: int = 0
    sparse: Sparse = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    dense_gradient: Callable[[], dict[str, Tensor]] = field(init=False)
    """`dense_gradient()`: ∂loss/∂θ of every prunable weight on the present batch, off the mask too; for `on_gradient`.

    Without a reparametrization it is the gradient at hand; with one the batch is passed once more, which leaves
    buffers and random state as they were.
    """

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step // self.steps_per_epoch

    @property
    def done(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / self.total_steps

    def dense_masks(self) -> Masks:
        """Masks under which every prunable weight is active; for `begin`."""
        chosen = prunable(self.model, self.config.mask.include, self.config.mask.exclude)
        return Masks({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in chosen.items()})

    def sparsify(self, masks: Masks) -> None:
        """Give the network these masks and the configured reparametrization; to be called once, in `begin`."""
        from sparse_training.reparam.sparse import sparsify

        self.sparse = sparsify(self.model, masks, self.config.reparam)


@dataclass
class Method:
    """A training method, written as a dataclass whose fields are its settings with their published defaults.

    A configuration holds an instance as the settings; each run trains with a copy of its own, which may keep state in
    attributes that `begin` sets. The moments, in order:

        begin(training)         once, before the optimizer exists: choose masks and call training.sparsify(masks)
        on_gradient(training)   after backward; True: the gradient is used up and the optimizer makes no step
        on_step(training)       after the optimizer's step, with training.step already counting it

    Masks change by training.sparse.set_masks(masks, training.optimizer), and only so.
    """

    name: ClassVar[str]
    reparams: ClassVar[tuple[str, ...]] = ("sign-in", "ham", "spred", "pilot")
    """Reparametrizations for which the method is defined."""

    def cycles(self, density: float) -> int:
        """How many times the run goes through the configured epochs and learning-rate schedule to reach a density."""
        return 1

    def begin(self, training: Training) -> None:
        """Masks of the configuration, at its density from the first step on."""
        training.sparsify(training.start_masks())

    def on_gradient(self, training: Training) -> bool:
        """Nothing."""
        return False

    def on_step(self, training: Training) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors to save with a checkpoint, by name; integers as 0-d int64. Masks and generator are saved anyway."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; called after `begin`."""
