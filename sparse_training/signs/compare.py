"""Compare the signs of two networks, layer by layer, on the weights that are active in both.

It never infers a mask from a zero, and never counts a weight at exactly zero as flipped or as agreeing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from commons.checks import nearest, refuse

Masks = Mapping[str, Tensor]


@dataclass(frozen=True)
class SignCounts:
    """Numbers of weights active at both ends: active = same + flipped + zero.

    same: equal signs. flipped: opposite signs. zero: at exactly 0 on at least one end, which neither agrees nor flips.
    """

    active: int
    same: int
    flipped: int
    zero: int

    @property
    def flipped_share(self) -> float:
        """flipped / active in [0, 1]; 0 where no weight is active at both ends."""
        return self.flipped / self.active if self.active else 0.0

    @property
    def agreement(self) -> float:
        """same / active in [0, 1]; 1 where no weight is active at both ends."""
        return self.same / self.active if self.active else 1.0

    def __add__(self, other: "SignCounts") -> "SignCounts":
        return SignCounts(
            self.active + other.active,
            self.same + other.same,
            self.flipped + other.flipped,
            self.zero + other.zero,
        )


def flipped(before: Tensor, after: Tensor, active: Tensor | None = None) -> Tensor:
    """Where the sign turned to its opposite, sign(before)·sign(after) = −1: bool, of the tensors' common shape.

    before, after: weights or signs. active: bool, the weights that count; None counts all.
    """
    opposed = torch.sign(before) * torch.sign(after) < 0
    return opposed if active is None else opposed & active


def count_signs(before: Tensor, after: Tensor, active: Tensor | None = None) -> SignCounts:
    """SignCounts of one layer; arguments as in `flipped`."""
    product = torch.sign(before) * torch.sign(after)
    if active is None:
        active = torch.ones_like(product, dtype=torch.bool)
    total, same, opposed = (int(n) for n in (active.sum(), (product > 0)[active].sum(), (product < 0)[active].sum()))
    return SignCounts(total, same, opposed, total - same - opposed)


def flips_by_layer(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    masks: Masks | None = None,
    masks_after: Masks | None = None,
) -> dict[str, SignCounts]:
    """SignCounts of each layer, in the order of `before`, over the weights active at both ends.

    before, after: θ by parameter name, the same shapes, as from `Run.weights` or `Sparse.weights`.
    masks: bool by parameter name, the support of `before`; None counts every weight.
    masks_after: the support of `after` where it differs (dynamic sparse training); default the same as masks.

    Raises:
        InputError: a layer is missing from one side, or its shapes differ.
    """
    end = masks if masks_after is None else masks_after
    counts = {}
    for name in _same_layers(before, after, "after"):
        first, second = before[name], after[name]
        active = torch.ones(first.shape, dtype=torch.bool)
        for mask in (m[name] for m in (masks, end) if m is not None):
            active = active & mask.to(active.device)
        counts[name] = count_signs(first.cpu(), second.cpu(), active.cpu())
    return counts


def agreement(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    masks: Masks | None = None,
    masks_after: Masks | None = None,
) -> float:
    """Share of equal signs over the whole network, in [0, 1]; arguments as `flips_by_layer`."""
    return total(flips_by_layer(before, after, masks, masks_after).values()).agreement


def total(counts: Iterable[SignCounts]) -> SignCounts:
    """The sum over layers."""
    return sum(counts, start=SignCounts(0, 0, 0, 0))


def _same_layers(before: Mapping[str, Tensor], after: Mapping[str, Tensor], argument: str) -> list[str]:
    for name in before:
        if name not in after:
            refuse(argument, list(after)[:4], f"a network with the layer {name}", nearest(name, after))
        if before[name].shape != after[name].shape:
            refuse(f"{argument}[{name}]", tuple(after[name].shape), f"of shape {tuple(before[name].shape)}")
    return list(before)
