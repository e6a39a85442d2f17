"""A chart of one layer: θ written by one or more factors, as a `torch.nn.utils.parametrize` parametrization."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import refuse


class Factors(nn.Module, ABC):
    """θ as a function of factors of its own shape and dtype, by default their product.

    Every factor is 0 off the mask, and there the function must give θ = 0. With two or more factors in a product the
    gradient of each factor carries the others, so a first-order optimizer that treats every entry by itself never
    moves them; with one factor, or under other optimizers, `Sparse.after_step` puts them back to 0.

    mask: bool, of the shape of θ; a buffer that is saved with the network, so that a state of another support is
    recognized. probe: a leaf that is added to θ while the gradient with respect to θ itself is asked for, else None.
    """

    mask: Tensor
    probe: Tensor | None

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        self.probe = None

    def forward(self, *factors: Tensor) -> Tensor:
        theta = self.join(*factors)
        return theta if self.probe is None else theta + self.probe

    def right_inverse(self, theta: Tensor) -> tuple[Tensor, ...]:
        """The factors that the chart gives θ, with 0 off the mask."""
        return tuple(torch.where(self.mask, factor, 0.0) for factor in self.split(theta))

    def join(self, *factors: Tensor) -> Tensor:
        """θ of the factors, entry by entry; 0 where all of them are 0."""
        theta, *others = factors
        for factor in others:
            theta = theta * factor
        return theta

    @abstractmethod
    def split(self, theta: Tensor) -> tuple[Tensor, ...]:
        """The factors whose `join` is θ up to one rounding, regardless of the mask; always as many of them."""


def check_support(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Refuse a state dict whose support is not that of the chart; a hook that runs before a chart's state is loaded.

    module: the ParametrizationList that holds the chart and its factors. A state from before masks were saved with
    the network has none; it must be 0 off the present mask.

    Raises:
        InputError: names the weight and the number of entries that differ; nothing of this weight is loaded then.
    """
    chart: Any = module[0]  # type: ignore[index]
    name = "".join(prefix.removesuffix(".").rsplit("parametrizations.", 1))
    saved = state_dict.setdefault(f"{prefix}0.mask", chart.mask)
    if saved.shape != chart.mask.shape:
        refuse(f"state_dict[{name!r}].shape", tuple(saved.shape), f"the shape {tuple(chart.mask.shape)} of the weight")
    other = int((saved.to(chart.mask.device) != chart.mask).sum())
    if other:
        hint = "give the network the masks of that state first, with sparse.load_masks"
        refuse(f"state_dict[{name!r}]", f"a support that differs in {other} weights", "of the network's masks", hint)
    off = ~chart.mask.cpu()
    for key in (f"{prefix}original{index}" for index in range(module.ntensors)):  # type: ignore[arg-type]
        if key in state_dict and state_dict[key].shape == off.shape:
            outside = int((state_dict[key].cpu() != 0)[off].sum())
            if outside:
                refuse(f"state_dict[{name!r}]", f"{outside} non-zero weights", "0 off the network's masks")
