"""What a training method is: three moments of a run at which it may act."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sparse_training.methods.lifecycle import Start, Training
from sparse_training.methods.own_loop import Attached, attached
from sparse_training.reparam import Sparse


@dataclass(frozen=True)
class Method:
    """A training method, written as a frozen dataclass whose fields are its settings with their published defaults.

    What changes in a run is kept in `Training`, so that one method serves any number of runs. The moments, in order:

        begin(start)                  once, before the optimizer exists: return start.sparsify(masks)
        on_gradient(training, batch)  after backward on batch = (x, y); return True to skip the optimizer's step
        on_step(training)             after the optimizer's step, with training.step already counting it

    Masks change by training.sparse.set_masks(masks, training.optimizer), and only so.

    regrows: whether the method frees weights that are 0 and must be able to leave it. owns_weight: whether the method
    writes the weights itself, so that no factors can. keeps_support: whether it never changes the masks, so that
    nothing need be stored of inactive weights. `unmet_need` decides by them which reparametrizations the method works
    with. begins_dense: whether every weight is active at first. sees_gradients: whether `on_gradient` asks for
    `dense_gradient`. by_epoch: whether `on_step` counts epochs.
    """

    name: ClassVar[str]
    regrows: ClassVar[bool] = False
    owns_weight: ClassVar[bool] = False
    keeps_support: ClassVar[bool] = False
    begins_dense: ClassVar[bool] = False
    sees_gradients: ClassVar[bool] = False
    by_epoch: ClassVar[bool] = False

    def cycles(self, density: float) -> int:
        """How many times the run goes through the configured epochs and learning-rate schedule to reach a density."""
        return 1

    def begin(self, start: Start) -> Sparse:
        """Begin with the masks of the configuration, at its density from the first step on."""
        return start.sparsify(start.start_masks())

    def prepare(self, sparse: Sparse) -> None:
        """Write the weights of a network that is sparse already, for a method that `owns_weight`; before an optimizer.

        Doing it again changes nothing.
        """

    def enter(self, training: Training) -> None:
        """Do at the start of `attach` what `begin` does; nothing by default."""

    def attach(
        self,
        sparse: Sparse,
        optimizer: torch.optim.Optimizer,
        total_steps: int,
        *,
        density: float | None = None,
        steps_per_epoch: int | None = None,
        seed: int = 0,
        state: Mapping[str, Tensor] | None = None,
    ) -> Attached:
        """Let the method act in a loop of one's own at each step of the optimizer; it attaches that to the network too.

        sparse: the network, with the masks that it begins with, which are all ones for a method that begins dense.
        optimizer: holds its parameters. total_steps: how many steps it will make; later ones change no mask. density:
        the share of the prunable weights to keep at the end; None for that of the masks. steps_per_epoch: for a method
        that acts once an epoch. seed: of what the method draws. state: what `Attached.state_dict` gave, by name, to go
        on from; None begins. A step that the method replaces is one in which the
        optimizer changes nothing. What is returned has the state that a restart needs.

        Raises:
            InputError: the method does not work with the network's reparametrization, begins dense and the masks are
                not, or misses a number.
        """
        return attached(self, sparse, optimizer, total_steps, density, steps_per_epoch, seed, state)

    def on_gradient(self, training: Training, batch: tuple[Tensor, ...]) -> bool:
        """Change nothing on the batch (x, y) and let the optimizer make its step; True would skip the step.

        In a loop of one's own the batch is empty, and `dense_gradient` is that of the last backward passes.
        """
        return False

    def on_step(self, training: Training) -> None:
        """Change nothing."""
