"""`rescale`: another ratio of two layers at the same function, as a control of what changes sizes beside signs."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from commons.checks import number, refuse
from sparse_training.seeding import isolated


@torch.no_grad()
def rescale(model: nn.Module, first: str, second: str, c: float, x: Tensor) -> None:
    """Multiply weight and bias of the module `first` by c and divide the weight of `second` by c.

    This leaves the function of the network as it is where only what is positively homogeneous lies between them, such
    as ReLU or pooling: f(cz) = c f(z). `first` may be a normalization, whose weight and bias then carry c past it.
    Where `first` is a layer before a batch normalization, which would undo c, `second` is that normalization: its ε
    becomes c²ε and its running mean and variance follow, and nothing else changes.

    model: the network, changed in place. c: a power of two, so that nothing is rounded. x: a batch of inputs; that the
    outputs on it stay the same, bit for bit, in training and in evaluation mode, makes the change count as exact.

    Raises:
        InputError: c is no power of two, or the outputs are others; the network is then as before.
    """
    number("c", c, above=0)
    if math.frexp(c)[0] != 0.5:
        refuse("c", c, "a power of two")
    before = _outputs(model, x)
    _change(model, first, second, c)
    after = _outputs(model, x)
    if not all(torch.equal(a, b) for a, b in zip(before, after, strict=True)):
        _change(model, first, second, 1 / c)
        hint = "what lies between them is not f(cz) = c f(z), or leads elsewhere as well"
        refuse("first, second", f"{first}, {second}", "a pair that can be rescaled at the same function", hint)


def _change(model: nn.Module, first: str, second: str, c: float) -> None:
    upper: Any = model.get_submodule(first)
    lower: Any = model.get_submodule(second)
    for parameter in (upper.weight, upper.bias):
        if parameter is not None:
            parameter.mul_(c)
    if isinstance(lower, nn.modules.batchnorm._BatchNorm):
        lower.eps *= c * c
        if lower.running_mean is not None and lower.running_var is not None:
            lower.running_mean.mul_(c)
            lower.running_var.mul_(c * c)
    else:
        lower.weight.mul_(1 / c)


def _outputs(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The outputs in training and in evaluation mode; modes, buffers and the random state stay as they were."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    found = []
    for turn in (model.train, model.eval):
        found.append(_output(turn, model, x))
        for buffer, value in buffers:
            buffer.copy_(value)
    for module, mode in modes:
        module.training = mode
    return found


def _output(turn: Callable[[], nn.Module], model: nn.Module, x: Tensor) -> Tensor:
    turn()
    with isolated(0):
        output: Tensor = model(x)
    return output
