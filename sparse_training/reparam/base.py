"""What a reparametrization is: how a prunable weight is written, or how it is stepped; abstract, without any layer.

It knows neither masks' origin nor schedules.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from sparse_training.reparam.sparse import Layer


class Factors(nn.Module, ABC):
    """θ = m ⊙ w as a `torch.nn.utils.parametrize` parametrization; m = w = 0 off the mask.

    The gradient of each factor carries the other one, so no first-order optimizer leaves m = w = 0 and no mask is
    multiplied. mask: bool, of the shape of θ; a buffer that is not saved. probe: a leaf added to θ while the gradient
    with respect to θ itself is asked for, None otherwise.
    """

    mask: Tensor
    probe: Tensor | None

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.probe = None

    def forward(self, m: Tensor, w: Tensor) -> Tensor:
        theta = m * w
        return theta if self.probe is None else theta + self.probe

    def right_inverse(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """(m, w) of θ by the chart, 0 off the mask."""
        m, w = self.split(theta)
        return torch.where(self.mask, m, 0.0), torch.where(self.mask, w, 0.0)

    @abstractmethod
    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """(m, w) with m ⊙ w = θ to one rounding, regardless of the mask."""


@dataclass(frozen=True)
class Reparam:
    """A reparametrization, written as a frozen dataclass whose fields are its settings.

    decay_share: the weight decay of a factor for which θ decays as a plain weight would, as a share of the plain one.
    """

    name: ClassVar[str]
    decay_share: ClassVar[float] = 1.0

    def factors(self, masks: Sequence[Tensor]) -> list[Factors] | None:
        """The chart of each layer, from input to output, or None where θ stays one tensor."""
        return None

    def after_step(self, layers: Sequence["Layer"], optimizer: torch.optim.Optimizer) -> None:
        """What follows each optimizer step; nothing by default."""

    def reset(self, layers: Sequence["Layer"], optimizer: torch.optim.Optimizer | None) -> None:
        """What `Sparse.reset` does; nothing by default."""
