"""∂loss/∂θ of masked weights, inactive entries too, also where factors write θ: read off probes that are added to θ."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from commons.checks import InputError
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.sharding import is_sharded, whole


def at_hand(layers: Sequence[Layer]) -> dict[str, Tensor]:
    """What the last backward pass left, by name; 0 for a weight that it did not reach, such as a frozen one.

    Weights that factors write must have been probed since before the forward pass, by `probe`.
    """
    found = {}
    for layer in layers:
        source = layer.parameters[0] if layer.factors is None else layer.factors.probe
        gradient = None if source is None else source.grad
        found[layer.name] = whole(_zeros(layer) if gradient is None else gradient)
    return found


def probe(layers: Sequence[Layer]) -> None:
    """Give each chart a new probe, a leaf of zeros that is added to θ and gathers ∂loss/∂θ in backward passes.

    Raises:
        InputError: the factors are sharded.
    """
    for layer in layers:
        if layer.factors is not None and is_sharded(layer.parameters[0]):
            raise InputError(f"factors that are sharded write {layer.name}: its gradient off the mask is not known")
        if layer.factors is not None:
            layer.factors.probe = _zeros(layer).requires_grad_()


def unprobe(layers: Sequence[Layer]) -> None:
    """Take the probes away."""
    for layer in layers:
        if layer.factors is not None:
            layer.factors.probe = None


def evaluated(model: nn.Module, layers: Sequence[Layer], loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    """As `at_hand`, from loss(), evaluated once more; buffers, gradients and the random state of the model stay."""
    written = [layer for layer in layers if layer.factors is not None]
    with _kept_buffers(model), torch.random.fork_rng(_devices(layers)):
        probe(written)
        try:
            probes: list[Tensor] = [layer.factors.probe for layer in written]  # type: ignore[union-attr,misc]
            gradients = torch.autograd.grad(loss(), probes, materialize_grads=True)
        finally:
            unprobe(written)
    own = dict(zip((layer.name for layer in written), gradients, strict=True))
    found = own | at_hand([layer for layer in layers if layer.factors is None])
    return {layer.name: found[layer.name] for layer in layers}


def _zeros(layer: Layer) -> Tensor:
    """Zeros of the shape, layout and dtype of θ, without computing it."""
    return torch.zeros_like(layer.mask, dtype=layer.parameters[0].dtype)


@contextmanager
def _kept_buffers(model: nn.Module) -> Iterator[None]:
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _devices(layers: Sequence[Layer]) -> list[torch.device]:
    return [layers[0].mask.device] if layers[0].mask.is_cuda else []
