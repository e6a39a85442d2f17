"""Scores: each function ranks the weights of a network by one criterion, the higher the more worth keeping.

None chooses how many to keep, and none sees the user's model: `make_masks` hands over a copy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparse_training.seeding import generator

Scores = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What a criterion may look at: a copy of the network to use up, its prunable weights, a batch, a loss, a seed."""

    model: nn.Module
    weights: dict[str, nn.Parameter]
    batch: Batch | None
    loss: Loss
    seed: int


Criterion = Callable[[Setting], Scores]


def random(setting: Setting) -> Scores:
    """Uniform on [0, 1), float64, drawn on the CPU so that the masks do not depend on the device."""
    stream = generator(setting.seed, "masks")
    return {
        name: torch.rand(weight.shape, generator=stream, dtype=torch.float64).to(weight.device)
        for name, weight in setting.weights.items()
    }


def magnitude(setting: Setting) -> Scores:
    """|θ| (Han et al. 2015, section 3)."""
    return {name: weight.detach().abs() for name, weight in setting.weights.items()}


SCORES: dict[str, Criterion] = {"random": random, "magnitude": magnitude}
