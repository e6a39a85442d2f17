"""What follows the gradients of a step: clipping, the optimizer's step, the reparametrization, the masks.

With `engine.graphs` on cuda all of it is one CUDA graph, because it launches hundreds of small kernels.
"""

import torch
from torch import Tensor

from sparse_training.reparam import Sparse
from sparse_training.training.capture import Recording


class Update:
    """The steps of the optimizer that is attached to a sparse network.

    clip: the largest norm of the gradient of all active parameters; 0 means no limit. rate: 0-d, the tensor that the
    optimizer reads its learning rate from, if its steps may be recorded.
    """

    def __init__(self, sparse: Sparse, optimizer: torch.optim.Optimizer, clip: float, rate: Tensor | None) -> None:
        self._sparse, self._optimizer, self._clip, self._rate = sparse, optimizer, clip, rate
        self.lr = 0.0
        self._stepped = False
        self._recording: Recording[None] | None = None
        self._recorded: object | None = None  # with which gradients
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def set_rate(self, lr: float) -> None:
        """Set the learning rate of the steps to come."""
        self.lr = lr
        if self._rate is not None:
            self._rate.fill_(lr)
            return
        for group in self._optimizer.param_groups:
            group["lr"] = lr

    def __call__(self, gradients: object | None) -> None:
        """Make a step. gradients: the same object as long as the gradients stay in the same tensors, or None.

        The first step is never recorded, because in it the optimizer makes the tensors of its state.
        """
        if self._rate is None or gradients is None or not self._stepped:
            self._step()
            self._stepped = True
            return
        if gradients is not self._recorded:
            self._recording, self._recorded = Recording(self._step), gradients
        assert self._recording is not None
        self._recording()

    def _step(self) -> None:
        if self._clip:
            self._sparse.mask_gradients()
            torch.nn.utils.clip_grad_norm_(self._sparse.model.parameters(), self._clip)
        self._optimizer.step()  # attached to the network, which follows it
