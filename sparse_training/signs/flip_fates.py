"""How many signs really flip: raw, effective, settled and transient flips, by the size that a weight began with."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from commons.checks import number, refuse

SMALL = 0.1  # of a layer's root mean square: below it a weight is near 0, and its sign does little


@dataclass(frozen=True)
class Fates:
    """Counts of weights that are active from the first network to the last one.

    active: all of them. ever: their sign was another one than at first in at least one network. raw: the
    last sign is not the first one. effective: raw flips of weights that are not small at either end, |θ| at least a
    tenth of the root mean square of their layer's active weights there. settled: raw flips whose last sign has been
    theirs since the middle of the networks.
    """

    active: int = 0
    ever: int = 0
    raw: int = 0
    effective: int = 0
    settled: int = 0

    def __add__(self, other: "Fates") -> "Fates":
        return Fates(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def shares(self) -> dict[str, float]:
        """ever, raw, effective and settled as shares of active, in [0, 1]; 0 where none is active."""
        return {name: getattr(self, name) / max(self.active, 1) for name in ("ever", "raw", "effective", "settled")}


def fates(networks: Sequence[Mapping[str, Tensor]], masks: Mapping[str, Tensor], parts: int = 4) -> list[Fates]:
    """One count for each part of the weights, from the smallest to the largest |θ| at the start within their layer.

    networks: the weights by parameter name, from the first to the last, of one support.   masks: the support, boolean
    by name.   parts: into how many equal parts the weights of each layer are ranked.

    Raises:
        InputError: fewer than two networks, or no part.
    """
    number("parts", parts, at_least=1, integer=True)
    if len(networks) < 2:
        refuse("networks", len(networks), "at least two, the first and the last")
    found = [Fates() for _ in range(parts)]
    for name, mask in masks.items():
        theta = torch.stack([weights[name][mask] for weights in networks])  # (networks, active)
        rank = theta[0].abs().argsort(stable=True).argsort(stable=True)
        for part, here in enumerate(rank * parts // max(len(rank), 1) == index for index in range(parts)):
            found[part] += _counted(theta[:, here], _size(theta[0]), _size(theta[-1]))
    return found


def _counted(theta: Tensor, first_size: float, last_size: float) -> Fates:
    signs = theta.sign()
    raw = signs[0] * signs[-1] < 0
    large = (theta[0].abs() >= SMALL * first_size) & (theta[-1].abs() >= SMALL * last_size)
    settled = (signs[len(signs) // 2 :] == signs[-1]).all(0)
    ever = (signs[0] * signs < 0).any(0)
    return Fates(theta.shape[1], *(int(where.sum()) for where in (ever, raw, raw & large, raw & settled)))


def _size(theta: Tensor) -> float:
    return float(theta.square().mean().sqrt()) if theta.numel() else 0.0
