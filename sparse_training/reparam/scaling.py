"""What multiplies gradients or learning rates before each step: layer rates, SparseOpt and lr × 1/√density.

`sparsify(model, masks, reparam, scaling)` takes one; it combines with every reparametrization, method and optimizer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from commons.checks import number, refuse
from commons.registry import Registry, subclass_of
from sparse_training.masks.matrices import output_axes
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.sharding import whole


@dataclass(frozen=True)
class Scaling:
    """A scaling, written as a frozen dataclass whose fields are its settings.

    by_layer: whether it gives layers learning rates of their own; the optimizer then needs a group for each layer, as
    `Sparse.parameter_groups` makes them. At learning rate rη a layer decays with λ/r, so that θ decays as without it.
    recordable: whether the rates never change, and the factors of gradients follow from tensors on the device without
    waiting for a number, so that a CUDA graph may record them.
    """

    name: ClassVar[str]
    by_layer: ClassVar[bool] = False
    recordable: ClassVar[bool] = False

    def rates(self, layers: Sequence[Layer]) -> list[float]:
        """The factor r of the learning rate of each layer, from input to output; all 1 by default."""
        return [1.0] * len(layers)

    def gradient(self, layer: Layer) -> Tensor | None:
        """What the gradient of the layer's weight is multiplied by, in a shape that broadcasts with it; None for 1."""
        return None


SCALINGS: Registry[type[Scaling]] = Registry("a subclass of Scaling", {}, accept=subclass_of(Scaling))


@SCALINGS.register("layer-rates")
@dataclass(frozen=True)
class LayerRates(Scaling):
    """A learning rate for each layer: the null model of a reparametrization, whose speed differs by layer as well.

    first, last: factors of the first and the last masked layer, with a geometric progression between them. rates_of:
    instead of these, a factor for each masked layer, in the order of `layers`, their parameter names, or from input to
    output where `layers` is empty.

    Raises:
        InputError: a factor is not positive, or the numbers of rates and layers differ.
    """

    name: ClassVar[str] = "layer-rates"
    by_layer: ClassVar[bool] = True
    recordable: ClassVar[bool] = True

    first: float = 1.0
    last: float = 1.0
    rates_of: tuple[float, ...] = ()
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for value in (self.first, self.last, *self.rates_of):
            number("scaling.rates", value, above=0)
        if self.layers and len(self.layers) != len(self.rates_of):
            refuse("scaling.layers", len(self.layers), f"as many names as rates, {len(self.rates_of)}")

    def rates(self, layers: Sequence[Layer]) -> list[float]:
        if not self.rates_of:
            steps = max(len(layers) - 1, 1)
            return [self.first * (self.last / self.first) ** (index / steps) for index in range(len(layers))]
        names = [layer.name for layer in layers]
        if sorted(self.layers or names) != sorted(names) or len(self.rates_of) != len(names):
            found = ", ".join(self.layers) or f"{len(self.rates_of)} rates"
            refuse("scaling.layers", found, f"those of the network: {', '.join(names)}")
        by_name = dict(zip(self.layers or names, self.rates_of, strict=True))
        return [by_name[name] for name in names]

    @classmethod
    def of_metrics(cls, metrics: Sequence[Mapping[str, Any]]) -> "LayerRates":
        """The mean speed of each layer over the epochs of a recorded run: what plain training needs to go as fast.

        metrics: the lines of the run's metrics.jsonl, as `Run.metrics()` reads them.

        Raises:
            InputError: no speeds were recorded, as plain training has none.
        """
        epochs = [line.get("speeds") or {} for line in metrics]
        if not epochs or not all(epochs):
            refuse("metrics", f"{len(epochs)} lines", "of a run that recorded speeds", "it needs a reparametrization")
        means = {name: sum(epoch[name]["mean"] for epoch in epochs) / len(epochs) for name in epochs[0]}
        return cls(rates_of=tuple(means.values()), layers=tuple(means))


@SCALINGS.register("sparse-opt")
@dataclass(frozen=True)
class SparseOpt(Scaling):
    """SparseOpt (arXiv 2605.27541): each neuron's gradient times √(1 − s_i)/√(1 − s_avg).

    s_i is the sparsity of the incoming weights of neuron i, and s_avg its mean over the neurons of the layer. Behind a
    normalization the gradient of a neuron of few weights is inflated by 1/√(1 − s_i). Under Adam, which divides by the
    size of each gradient, it does next to nothing.
    """

    name: ClassVar[str] = "sparse-opt"
    recordable: ClassVar[bool] = True

    def gradient(self, layer: Layer) -> Tensor | None:
        others = [dim for dim in range(layer.mask.ndim) if dim not in output_axes(layer.axes)]
        if not others:
            return None
        dense = layer.mask.sum(others, keepdim=True, dtype=torch.float32)
        return (dense / dense.mean().clamp(min=torch.finfo(torch.float32).tiny)).sqrt()


@SCALINGS.register("root-density")
@dataclass(frozen=True)
class RootDensity(Scaling):
    """lr × 1/√density of each layer, as SMET has it (arXiv 2606.00888): the control of SparseOpt and of Sign-In.

    The density is that of the present masks, so a method that changes them changes the rates.
    """

    name: ClassVar[str] = "root-density"
    by_layer: ClassVar[bool] = True

    def rates(self, layers: Sequence[Layer]) -> list[float]:
        return [(layer.mask.numel() / max(int(whole(layer.mask.sum())), 1)) ** 0.5 for layer in layers]
