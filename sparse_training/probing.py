"""A short training from small weights: where it ends tells which weights, and which signs, the data ask for."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

SHRINK = 0.3  # a probe starts from weights that cross 0 more easily
BATCH, EPOCHS = 32, 3
STEP = 0.14  # of a weight, in root mean squares of its tensor: what Adam moves it by where gradients agree


def train_briefly(
    weights: Mapping[str, Tensor],
    gradient: Callable[[Tensor], Mapping[str, Tensor]],
    samples: int,
    stream: torch.Generator,
) -> None:
    """Train weights by name, in place, with Adam: three times over the samples in batches of 32.

    The learning rate of a tensor is 0.14 times the root mean square of its nonzero weights.

    gradient(index): of each weight, by name and in its shape, on the samples of this index (b,) int64 on the CPU.
    samples: their number. stream: of their order.
    """
    groups = [{"params": [weight], "lr": STEP * _size(weight)} for weight in weights.values()]
    optimizer = torch.optim.Adam(groups)
    for _ in range(EPOCHS):
        for part in torch.split(torch.randperm(samples, generator=stream), BATCH):
            for name, slope in gradient(part).items():
                weights[name].grad = slope
            optimizer.step()


def _size(weight: Tensor) -> float:
    """The root mean square of the weights that are not 0; 0 where all are."""
    active = weight.detach()[weight != 0]
    return float(active.square().mean().sqrt()) if len(active) else 0.0
