"""STR: every layer learns the threshold below which its weights are zero, and so the layers' densities.

Its density follows from training and cannot be set.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from commons.checks import number
from sparse_training.masks import Masks
from sparse_training.methods.lifecycle import Start, Training
from sparse_training.methods.method import Method
from sparse_training.reparam import Sparse
from sparse_training.reparam.building import write_weight


class SoftThreshold(nn.Module):
    """θ = sign(u) · relu(|u| − σ(s)) with a learned scalar s (Kusupati et al. 2020, eq. 4)."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(initial))

    def forward(self, u: Tensor) -> Tensor:
        return u.sign() * torch.relu(u.abs() - self.s.sigmoid())

    def passes(self, u: Tensor) -> Tensor:
        """Where |u| is above the threshold: bool, as u."""
        return u.abs() > self.s.sigmoid()


@dataclass(frozen=True)
class STR(Method):
    """Soft threshold reparametrization (Kusupati et al. 2020): s starts far below 0 and weight decay pulls it up.

    initial: s at the start, −3200 for ResNet-50 on ImageNet in their appendix, where σ(s) is 0. How far it gets, and
    so the density at the end, follows from the optimizer's weight decay, learning rate and steps; the configured
    density is not read. Until the last step every weight is active, many of them at 0; then the weights above their
    threshold become the mask.
    """

    name: ClassVar[str] = "str"
    owns_weight: ClassVar[bool] = True
    begins_dense: ClassVar[bool] = True

    initial: float = -3200.0

    def __post_init__(self) -> None:
        number("method.initial", self.initial)

    def begin(self, start: Start) -> Sparse:
        sparse = start.sparsify(start.dense_masks())
        self.prepare(sparse)
        return sparse

    def prepare(self, sparse: Sparse) -> None:
        for layer in sparse.layers:
            if not layer.frozen and not parametrize.is_parametrized(layer.module, layer.attribute):
                write_weight(sparse.model, layer, SoftThreshold(self.initial).to(layer.mask.device))

    def on_step(self, training: Training) -> None:
        if training.step == training.total_steps:
            training.sparse.set_masks(self.above_threshold(training), training.optimizer)

    def above_threshold(self, training: Training) -> Masks:
        """The weights that the present thresholds let through."""
        masks = {}
        for layer in training.sparse.layers:
            masks[layer.name] = layer.mask
            if parametrize.is_parametrized(layer.module, layer.attribute):
                chart: Any = layer.module.parametrizations[layer.attribute]  # type: ignore[index]
                masks[layer.name] = chart[0].passes(chart.original)
        return Masks(masks)
