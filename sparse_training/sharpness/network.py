"""A network on some samples as a function of the weights that are its coordinates, in one precision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from sparse_training.sharpness.batches import Batch
from sparse_training.sharpness.coordinates import Coordinates
from sparse_training.sharpness.losses import Part
from sparse_training.sharpness.products import Piece, Tensors


@dataclass(frozen=True, eq=False)
class Network:
    """A model whose chosen parameters are replaced by `leaves`, tensors in their shapes.

    coordinates: the chosen parameters. constants: all other parameters and buffers, by name. part: the loss, as in
    losses.py. samples: number of all samples, which the mean of a plain loss is over.
    """

    model: nn.Module
    coordinates: Coordinates
    constants: Mapping[str, Tensor]
    part: Callable[[Tensor, Tensor], Part]
    samples: int

    @classmethod
    def of(
        cls, model: nn.Module, coordinates: Coordinates, part: Callable[[Tensor, Tensor], Part], samples: int
    ) -> "Network":
        """The network with copies of the parameters and buffers that are no coordinates."""
        held = cls(model, coordinates, {}, part, samples)
        named = (*model.named_parameters(), *model.named_buffers())
        chosen = set(coordinates.names)
        return replace(
            held, constants={name: held.placed(tensor).clone() for name, tensor in named if name not in chosen}
        )

    def placed(self, tensor: Tensor) -> Tensor:
        """A tensor of samples or of the model on the device and, if it is floating point, in the precision."""
        dtype = self.coordinates.dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.detach().to(self.coordinates.device, dtype)

    def to(self, dtype: torch.dtype) -> "Network":
        """The same network in another precision."""
        other = replace(self, coordinates=self.coordinates.to(dtype))
        return replace(other, constants={name: other.placed(tensor) for name, tensor in self.constants.items()})

    def piece(self, batch: Batch) -> Piece:
        """The output and the part of the loss on a batch."""
        x, y = (self.placed(part) for part in batch)
        return Piece(lambda leaves: self.output(x, leaves), lambda output: self.measured(output, y))

    def output(self, x: Tensor, leaves: Tensors) -> Tensor:
        """The output for placed samples x."""
        state = {**self.constants, **dict(zip(self.coordinates.names, leaves, strict=True))}
        result: Tensor = functional_call(self.model, state, (x,))
        return result

    def measured(self, output: Tensor, y: Tensor) -> Part:
        """The summed loss of some samples and its weight, or of a plain mean their share of it and None."""
        loss, weight = self.part(output, y)
        return (loss * (len(y) / self.samples), None) if weight is None else (loss, weight)

    @torch.no_grad()
    def answer(self, x: Tensor) -> Tensor:
        """The output for placed samples x at the present weights, without a graph."""
        return self.output(x, self.coordinates.values)
