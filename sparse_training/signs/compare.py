"""Compare the signs of two networks, layer by layer, on the weights that are active in both.

The support comes from the masks and never from the zeros. A weight that is exactly zero has no sign: it is counted
apart, neither as flipped nor as agreeing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from commons.checks import InputError, nearest, refuse


@dataclass(frozen=True)
class SignCounts:
    """Counts of the weights that are active in both networks; active = same + flipped + zero.

    same: the signs are equal. flipped: the signs are opposite. zero: at least one of the two weights is exactly 0.
    """

    active: int
    same: int
    flipped: int
    zero: int

    @property
    def flipped_share(self) -> float:
        """flipped / active, in [0, 1]; it is 0 where no weight is active in both networks."""
        return self.flipped / self.active if self.active else 0.0

    @property
    def agreement(self) -> float:
        """same / active, in [0, 1]; it is 1 where no weight is active in both networks."""
        return self.same / self.active if self.active else 1.0

    def __add__(self, other: "SignCounts") -> "SignCounts":
        return SignCounts(
            self.active + other.active,
            self.same + other.same,
            self.flipped + other.flipped,
            self.zero + other.zero,
        )


def flipped(before: Tensor, after: Tensor, active: Tensor | None = None) -> Tensor:
    """Return a boolean tensor that is True where sign(before) · sign(after) = −1, in the tensors' common shape.

    before, after: weights or signs. active: boolean, the weights that count; None counts all of them.
    """
    opposed = torch.sign(before) * torch.sign(after) < 0
    return opposed if active is None else opposed & active


def count_signs(before: Tensor, after: Tensor, active: Tensor | None = None) -> SignCounts:
    """Count the signs of one layer; before, after and active are as in `flipped`.

    Raises:
        InputError: An active weight is not a number, and so has no sign.
    """
    product = torch.sign(before) * torch.sign(after)
    if active is None:
        active = torch.ones_like(product, dtype=torch.bool)
    unknown = int(((before.isnan() | after.isnan()) & active).sum())  # torch.sign gives them 0
    if unknown:
        raise InputError(f"{unknown} of {int(active.sum())} active weights are not a number, and so have no sign")
    total, same, opposed = (int(n) for n in (active.sum(), (product > 0)[active].sum(), (product < 0)[active].sum()))
    return SignCounts(total, same, opposed, total - same - opposed)


def flips_by_layer(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    masks_after: Mapping[str, Tensor] | None = None,
) -> dict[str, SignCounts]:
    """Count signs in each layer, in the order of `before`, over the weights that are active in both networks.

    before, after: the weights θ by parameter name, of equal shapes, as `Run.weights` or `Sparse.weights` return them,
    or state dicts. masks: boolean tensors by parameter name, the support of `before`; only tensors with a mask are
    compared then. None compares every tensor and counts every weight.
    masks_after: the support of `after` where dynamic sparse training changed it; None means the same as masks.

    Raises:
        InputError: A layer of `before` is missing from `after`, or its shapes differ; a mask is of no layer of
            `before`, is missing or has another shape; an active weight is not a number.
    """
    end = masks if masks_after is None else masks_after
    foreign = next((name for name in masks or () if name not in before), None)
    if foreign is not None:
        refuse("masks", foreign, "a layer of the network", nearest(foreign, before))
    counts = {}
    masked = {name: value for name, value in before.items() if masks is None or name in masks}
    for name in _same_layers(masked, after, "after"):
        first, second = before[name], after[name]
        active = torch.ones(first.shape, dtype=torch.bool)
        for argument, given in (("masks", masks), ("masks_after", end)):
            if given is not None:
                active = active & _mask_of(name, first.shape, argument, given).cpu()
        try:
            counts[name] = count_signs(first.cpu(), second.cpu(), active)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
    return counts


def agreement(
    before: Mapping[str, Tensor],
    after: Mapping[str, Tensor],
    masks: Mapping[str, Tensor] | None = None,
    masks_after: Mapping[str, Tensor] | None = None,
) -> float:
    """Return the share of equal signs over the whole network, in [0, 1]; arguments as in `flips_by_layer`."""
    return total(flips_by_layer(before, after, masks, masks_after).values()).agreement


def total(counts: Iterable[SignCounts]) -> SignCounts:
    """Add the counts of all layers."""
    return sum(counts, start=SignCounts(0, 0, 0, 0))


def _mask_of(name: str, shape: torch.Size, argument: str, masks: Mapping[str, Tensor]) -> Tensor:
    if name not in masks:
        refuse(argument, list(masks)[:4], f"masks with the layer {name}", nearest(name, masks))
    if masks[name].shape != shape:
        refuse(f"{argument}[{name}]", tuple(masks[name].shape), f"of the shape {tuple(shape)} of the weight")
    return masks[name]


def _same_layers(before: Mapping[str, Tensor], after: Mapping[str, Tensor], argument: str) -> list[str]:
    for name in before:
        if name not in after:
            refuse(argument, list(after)[:4], f"a network with the layer {name}", nearest(name, after))
        if before[name].shape != after[name].shape:
            refuse(f"{argument}[{name}]", tuple(after[name].shape), f"of shape {tuple(before[name].shape)}")
    return list(before)
