"""Choose a support anew: keep the largest weights, drop the smallest and grow others; exact counts, ties by index.

It returns new masks and touches no weight.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sparse_training.masks import Masks
from sparse_training.masks.distributions import highest, select
from sparse_training.reparam import Sparse


def keep_largest(weights: Mapping[str, Tensor], density: float, within: Masks | None = None) -> Masks:
    """Masks of the round(density · N) weights of largest |θ| in the whole network, all inside `within` if given."""
    scores = {name: weight.abs() for name, weight in weights.items()}
    if within is not None:
        scores = {name: torch.where(within[name], score, -torch.inf) for name, score in scores.items()}
    return select(scores, density, "global")


def replace(weight: Tensor, mask: Tensor, count: int, growth: Tensor) -> Tensor:
    """The mask after `count` active weights of smallest |θ| are dropped and as many are grown: bool, as mask.

    growth: a score a weight; the highest among those that are not kept grow, so one just dropped may come back
    (Evci et al. 2020, algorithm 1). The number of active weights stays the same.
    """
    active = int(mask.sum())
    count = min(count, active)
    kept = highest(torch.where(mask, weight.abs(), -torch.inf).flatten(), active - count).view_as(mask)
    grown = highest(torch.where(kept, -torch.inf, growth).flatten(), count).view_as(mask)
    return kept | grown


def renewed(sparse: Sparse, new: Callable[[str, Tensor], Tensor]) -> Masks:
    """The present masks, with new(name, mask) in the place of each whose weight is trained."""
    present = sparse.masks
    return Masks(
        {
            layer.name: present[layer.name] if layer.frozen else new(layer.name, present[layer.name])
            for layer in sparse.layers
        }
    )
