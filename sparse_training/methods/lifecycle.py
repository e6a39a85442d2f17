"""What a training method sees: the terms of a run, the run before its first step, and the run in progress."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_training.masks import Masks
from sparse_training.reparam import Reparam, Scaling, Sparse, sparsify


@dataclass(kw_only=True)
class Terms:
    """What a method knows of a run at any time.

    density: the share of the prunable weights that the trained network is to keep, in (0, 1]. steps_per_epoch,
    cycle_steps, total_steps: optimizer steps of an epoch, of one pass through the learning-rate schedule, and of the
    whole run, which makes `Method.cycles` such passes. generator: the method's own random stream on the CPU.
    memory: the method's own tensors by name, integers as 0-d int64. Generator and memory are kept through a restart.
    """

    density: float
    steps_per_epoch: int
    cycle_steps: int
    total_steps: int
    generator: torch.Generator
    memory: dict[str, Tensor]


@dataclass(kw_only=True)
class Start(Terms):
    """A run before its first step, as `Method.begin` sees it.

    model: the plain network on its device. prunable: names of the weights that may be masked. reparam: how they are to
    be written. scaling: what multiplies their gradients or learning rates, or None. start_masks: `start_masks()` are
    the masks that the configuration asks for, at its density. set_signs: `set_signs(masks)` gives the weights that
    these masks keep the signs that the configuration asks for, and returns how many forward passes of one sample it
    took to find them. sign_passes: their number so far.
    """

    model: nn.Module
    prunable: tuple[str, ...]
    reparam: Reparam | None
    start_masks: Callable[[], Masks]
    scaling: Scaling | None = None
    set_signs: Callable[[Masks], int] = lambda masks: 0
    sign_passes: int = 0

    def dense_masks(self) -> Masks:
        """Masks under which every prunable weight is active."""
        weights = {name: self.model.get_parameter(name) for name in self.prunable}
        return Masks({name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()})

    def sparsify(self, masks: Masks) -> Sparse:
        """The network with these masks and the configured signs, reparametrization and scaling, changed in place."""
        self.sign_passes += self.set_signs(masks)
        return sparsify(self.model, masks, self.reparam, self.scaling)


@dataclass(kw_only=True)
class Training(Terms):
    """A run in progress, as a method sees it.

    sparse: the network with its masks. optimizer: holds every parameter of it, and is attached to it.
    dense_gradient: `dense_gradient(x, y)` is ∂loss/∂θ of every prunable weight on a batch, by name, off the mask too;
    without factors it is the gradient at hand, with factors the batch is passed once more, which leaves buffers and
    the random state as they were. step: optimizer steps finished, in [0, total_steps]; inside `on_step` the step just
    made is counted.
    """

    sparse: Sparse
    optimizer: torch.optim.Optimizer
    dense_gradient: Callable[[Tensor, Tensor], dict[str, Tensor]]
    step: int = 0

    @property
    def model(self) -> nn.Module:
        """The network as it trains."""
        return self.sparse.model

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step // self.steps_per_epoch

    @property
    def done(self) -> float:
        """Share of the training that is done, in [0, 1]."""
        return self.step / self.total_steps
