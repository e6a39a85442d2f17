"""∂loss/∂θ of masked weights, inactive entries too, also where factors write θ: read off probes that are added to θ."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from commons.checks import refuse
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

    Where `fully_shard` has sharded the factors the probe is of the whole weight in every process, as θ is during a
    forward pass, and gathers the gradient of that process's batch.
    """
    for layer in layers:
        if layer.factors is not None:
            layer.factors.probe = _zeros(layer).requires_grad_()


def unprobe(layers: Sequence[Layer]) -> None:
    """Take the probes away."""
    for layer in layers:
        if layer.factors is not None:
            layer.factors.probe = None


def evaluated(model: nn.Module, layers: Sequence[Layer], loss: Callable[[], Tensor]) -> dict[str, Tensor]:
    """As `at_hand`, from loss(), evaluated once more; buffers, gradients and the random state of the model stay.

    Raises:
        InputError: `fully_shard` has sharded factors, and gathers them for whole backward passes alone.
    """
    written = [layer for layer in layers if layer.factors is not None]
    if any(is_sharded(layer.parameters[0]) for layer in written):
        hint = "call sparse.probe_gradients before backward passes and sparse.gradient_at_hand after them"
        refuse("loss", "evaluated once more", "possible where factors are sharded", hint)
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
    """Zeros of the shape, layout and dtype of θ, without computing it; whole, also where θ is sharded."""
    dtype = layer.parameters[0].dtype
    if is_sharded(layer.mask):
        return torch.zeros(layer.mask.shape, dtype=dtype, device=layer.mask.device)
    return torch.zeros_like(layer.mask, dtype=dtype)


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
