"""A chart of one layer: θ written by one or more factors, as a `torch.nn.utils.parametrize` parametrization."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import refuse
from sparse_training.reparam.sharding import is_sharded, local, sharded_like

STORAGES = ("dense", "active")


class Factors(nn.Module, ABC):
    """θ as a function of factors of its own dtype, by default their product.

    storage: "dense" gives each factor the shape of θ, "active" makes it a vector over the active entries, in row-major
    order, that is put in place whenever θ is asked for. The two hold the same numbers.

    A dense factor is 0 off the mask, and there the function must give θ = 0. With two or more factors in a product the
    gradient of each factor carries the others, so a first-order optimizer that treats every entry by itself never
    moves them; with one factor, or under other optimizers, `Sparse.after_step` puts them back to 0.

    mask: bool, of the shape of θ; a buffer that is saved with the network, so that a state of another support is
    recognized. entries: where in the memory of θ each active entry lies, int64 (active,), or None for dense storage.
    probe: a leaf that is added to θ while the gradient with respect to θ itself is asked for, else None.
    """

    mask: Tensor
    entries: Tensor | None
    probe: Tensor | None

    def __init__(self, mask: Tensor, storage: str = "dense") -> None:
        super().__init__()
        self.register_buffer("mask", mask)
        entries = (mask.nonzero() * torch.tensor(mask.stride(), device=mask.device)).sum(1)
        self.register_buffer("entries", entries if storage == "active" else None, persistent=False)
        self.probe = None

    def forward(self, *factors: Tensor) -> Tensor:
        theta = self.theta(*factors)
        if self.probe is None or is_sharded(theta):  # no forward pass asks for a part of θ
            return theta
        return theta + self.probe.to(theta.dtype)

    def theta(self, *factors: Tensor) -> Tensor:
        """θ of the factors as they are stored, in the shape and the memory layout of the mask."""
        joined = self.join(*factors)
        if self.entries is None:
            return joined
        flat = joined.new_zeros(self.mask.numel()).index_copy(0, self.entries, joined)
        strides = self.mask.stride()
        order = sorted(range(len(strides)), key=lambda axis: -strides[axis])
        inverse = sorted(order, key=order.__getitem__)
        return flat.view([self.mask.shape[axis] for axis in order]).permute(inverse)

    def right_inverse(self, theta: Tensor) -> tuple[Tensor, ...]:
        """The factors that the chart gives θ, as they are stored: with 0 off the mask, or the active entries alone."""
        if self.entries is not None:
            return tuple(factor[self.mask] for factor in self.split(theta))
        return tuple(torch.where(self.mask, factor, 0.0) for factor in self.split(theta))

    def stored(self, value: Tensor) -> Tensor:
        """Numbers in a shape that broadcasts with θ, in a shape that broadcasts with the factors."""
        return value if self.entries is None else value.expand(self.mask.shape)[self.mask]

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
    mask = local(chart.mask)
    other = int((local(sharded_like(saved.to(mask.device), chart.mask)) != mask).sum())
    if other:
        hint = "give the network the masks of that state first, with sparse.load_masks"
        refuse(f"state_dict[{name!r}]", f"a support that differs in {other} weights", "of the network's masks", hint)
    off = ~mask.cpu()
    for key in (f"{prefix}original{index}" for index in range(module.ntensors)):  # type: ignore[arg-type]
        if key in state_dict and state_dict[key].shape == chart.mask.shape:
            held = local(sharded_like(state_dict[key].to(mask.device), chart.mask))
            outside = int((held.cpu() != 0)[off].sum())
            if outside:
                refuse(f"state_dict[{name!r}]", f"{outside} non-zero weights", "0 off the network's masks")
