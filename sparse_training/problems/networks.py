"""What problems share that train many sparse ReLU networks by automatic differentiation, all in one tensor a layer."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sparse_training.masks import Masks
from sparse_training.problems.base import Arm, Array
from sparse_training.problems.ways import Layer, PlainWay
from sparse_training.sign_init import Found, find_signs
from sparse_training.sign_init.base import Batch, Loss

Weights = list[Tensor]  # one a layer from input to output, (seeds, outputs, inputs) or (seeds, rates, outputs, inputs)
T = TypeVar("T")


def layers_of(arm: Arm, start: Weights, optimizer: str, decay: float) -> list[Layer]:
    """The layers of an arm on their way, from starts (seeds, rates, outputs, inputs)."""
    ways = arm.ways or (PlainWay(),) * len(start)
    return [Layer(way, w, optimizer, decay) for way, w in zip(ways, start, strict=True)]


def descend(
    layers: Sequence[Layer],
    masks: Weights,
    lr: Tensor,
    batches: Iterable[T],
    steps: int,
    loss: Callable[[Weights, T], Tensor],
    speeds: Tensor | None = None,
) -> None:
    """Train layers on batches, one step each, with rates that fall linearly to 0.

    masks: (seeds, 1, outputs, inputs) a layer.   lr: (rates, 1, 1).   steps: the number of batches.   loss(weights,
    batch): the sum over all networks.   speeds: (layers, seeds, rates), to which the mean speed of the active weights
    after each step is added.
    """
    for step, batch in enumerate(batches):
        weights = [layer.theta.requires_grad_() for layer in layers]
        slopes = torch.autograd.grad(loss(weights, batch), weights)
        with torch.no_grad():
            for layer, slope, mask in zip(layers, slopes, masks, strict=True):
                layer.step(slope * mask, lr * (1 - step / steps))
        if speeds is not None:
            pairs = zip(layers, masks, strict=True)
            speeds += torch.stack([_mean(layer.way.speed(layer.latents), mask) for layer, mask in pairs])


def outputs(weights: Weights, x: Tensor) -> Tensor:
    """(..., batch, outputs) of inputs (..., batch, inputs)."""
    for w in weights[:-1]:
        x = (x @ w.mT).relu()
    return x @ weights[-1].mT


def signs_of_one(
    weights: Weights, masks: Weights, method: str, batch: Batch, loss: Loss, seed: int
) -> tuple[Weights, int]:
    """The signs that a sign initialization finds for one network of weights (outputs, inputs), and its passes."""
    model, names = module_of(weights)
    chosen = Masks({name: mask > 0 for name, mask in zip(names, masks, strict=True)})
    found: Found = find_signs(model, chosen, method, batch, loss=loss, seed=seed)
    return [found.signs[name] for name in names], found.passes


def module_of(weights: Weights) -> tuple[nn.Module, list[str]]:
    """One network of weights (outputs, inputs) as a module, and the names of its weights."""
    parts: list[nn.Module] = []
    for w in weights:
        parts += [nn.Linear(w.shape[1], w.shape[0], bias=False), nn.ReLU()]
    model = nn.Sequential(*parts[:-1])
    names = [f"{2 * index}.weight" for index in range(len(weights))]
    model.load_state_dict(dict(zip(names, weights, strict=True)))
    return model, names


def stacked(networks: Sequence[Weights]) -> Weights:
    """Networks of weights (outputs, inputs) as weights (networks, outputs, inputs)."""
    return [torch.stack(layer) for layer in zip(*networks, strict=True)]


def flip_shares(begin: Weights, end: Weights, masks: Weights) -> dict[str, Array]:
    """The share of the active weights of each layer that end with another sign, (seeds, rates)."""
    found = {}
    for index, (first, last, mask) in enumerate(zip(begin, end, masks, strict=True), start=1):
        found[f"flips, layer {index}"] = ((first * last < 0).sum((-1, -2)) / mask.sum((-1, -2))).double().numpy()
    return found


def _mean(speed: Tensor, mask: Tensor) -> Tensor:
    """The mean over the active weights of each network."""
    return (speed * mask).sum((-1, -2)) / mask.sum((-1, -2))
