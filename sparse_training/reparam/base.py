"""What a reparametrization is: how a prunable weight is written by factors, or what follows each step on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sparse_training.reparam.factors import Factors
from sparse_training.reparam.layer import Layer


@dataclass(frozen=True)
class Reparam:
    """A reparametrization, written as a frozen dataclass whose fields are its settings.

    is_chart: whether factors write θ; then `factors` gives a chart for each layer. leaves_zero: whether training can
    make a weight non-zero that is exactly 0. decay_share: θ decays as a plain weight would under weight decay λ when
    each factor decays with decay_share · λ; it is ½ for a product of two factors.
    """

    name: ClassVar[str]
    is_chart: ClassVar[bool] = False
    leaves_zero: ClassVar[bool] = True
    decay_share: ClassVar[float] = 1.0

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        """The chart of each layer, from input to output; masks: bool, one a layer, in its shape.

        Asked for only if `is_chart`.
        """
        return []

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise InputError if the reparametrization cannot work with this optimizer; by default it can with all."""

    def after_step(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer) -> None:
        """Act on the layers that the optimizer holds, after a step that was taken; nothing by default."""

    def reset(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer | None) -> None:
        """Redistribute the factors of the layers when `Sparse.reset` is called; nothing by default.

        optimizer: the one that holds the factors and whose averages may follow them, or None.
        """


def learning_rates(optimizer: torch.optim.Optimizer) -> dict[int, float]:
    """The learning rate of each parameter that the optimizer holds, by the parameter's `id`."""
    return {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
