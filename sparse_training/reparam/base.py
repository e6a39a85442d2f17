"""What a reparametrization is: how a prunable weight is written by factors, or what follows each step on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from commons.checks import choice, refuse
from sparse_training.reparam.factors import STORAGES, Factors
from sparse_training.reparam.layer import Groups, Layer
from sparse_training.reparam.optimizer_states import Kind, known_kinds


@dataclass(frozen=True)
class Reparam:
    """A reparametrization, written as a frozen dataclass whose fields are its settings.

    is_chart: whether factors write θ; then `factors` gives a chart for each layer. leaves_zero: whether training can
    make a weight non-zero that is exactly 0. decay_share: θ decays as a plain weight would under weight decay λ when
    each factor decays with decay_share · λ; it is ½ for a product of two factors, and 0 where the reparametrization
    lets θ decay itself, by the group's "theta_decay". layerwise: whether the optimizer steps layers apart from the
    rest, followed by `after_layers`; it must then be attached. reads_gradient: whether `after_step` reads `.grad`,
    where it then finds the gradients that the optimizer was given, even if the optimizer overwrites what it is given.
    recordable: whether `after_step` and `after_layers` read nothing that changes but learning rates and tensors on the
    weights' device, wait for no number of theirs, and write into tensors that stay, so that a CUDA graph may record
    them; where none is overridden, there is nothing to say.
    """

    name: ClassVar[str]
    is_chart: ClassVar[bool] = False
    leaves_zero: ClassVar[bool] = True
    decay_share: ClassVar[float] = 1.0
    layerwise: ClassVar[bool] = False
    reads_gradient: ClassVar[bool] = False
    recordable: ClassVar[bool] = False

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        """The chart of each layer, from input to output; masks: bool, one a layer, in its shape.

        Asked for only if `is_chart`.
        """
        return []

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Raise InputError if the reparametrization cannot work with this optimizer; by default it can with all."""

    def begin(self, layers: Sequence[Layer]) -> None:
        """Prepare the layers of a network that was just made sparse; nothing by default.

        What must live through a restart is registered as a buffer of a layer's module; `Sparse.merge` leaves it out.
        """

    def after_layer(
        self, layer: Layer, before: Tensor, optimizer: torch.optim.Optimizer, group: dict[str, Any]
    ) -> None:
        """Act on one layer after its own step, where `layerwise` is true; nothing by default.

        before: a copy of its parameter before the step, which may be written to. group: the parameter group of it.
        """

    def after_layers(
        self, layers: Sequence[Layer], befores: Sequence[Tensor], optimizer: torch.optim.Optimizer, groups: Groups
    ) -> None:
        """Act on layers that were stepped together; by default `after_layer` acts on each.

        On a CPU it is one layer at a time, and on cuda those of one parameter group. befores: a copy of each parameter
        before the step, which may be written to. groups: as `groups_of` gives them.
        """
        for layer, before in zip(layers, befores, strict=True):
            self.after_layer(layer, before, optimizer, groups[id(layer.parameters[0])])

    def speed(self, layer: Layer) -> Tensor:
        """g of the active weights, 1-d: by how much the flow dθ = −g ∇L dt is faster than the plain one; detached.

        For a chart this is the sum over factors of (∂θ/∂factor)², so m² + w² for θ = m w.
        """
        active = [factor.detach() for factor in layer.parameters]
        if not layer.compact:
            entries = layer.mask.flatten().nonzero().squeeze(1)  # found once for all factors
            active = [factor.flatten()[entries] for factor in active]
        if layer.factors is None:
            return torch.ones_like(active[0])
        with torch.enable_grad():
            factors = [factor.requires_grad_() for factor in active]
            slopes = torch.autograd.grad(layer.factors.join(*factors).sum(), factors)
        return sum((slope.square() for slope in slopes), torch.zeros_like(slopes[0]))

    def beta_of(self, layer: Layer) -> float | None:
        """β of a layer: the speed is nearly constant for 2|θ| < β and grows as |θ| beyond. None if there is none.

        2/β is the strength of the reparametrization, which HAM calls α.
        """
        return None

    def after_step(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer) -> None:
        """Act on the layers that the optimizer holds, after a step that was taken; nothing by default."""

    def reset(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer | None) -> None:
        """Redistribute the factors of the layers when `Sparse.reset` is called; nothing by default.

        optimizer: the one that holds the factors and whose averages may follow them, or None.
        """


@dataclass(frozen=True)
class TwoFactors(Reparam):
    """A reparametrization that writes θ as the product of two factors, entry by entry.

    storage: "dense" stores the factors in the shape of θ. "active" stores them, and so their gradients and the
    optimizer's state, for the active entries alone: for a support that does not change, and an optimizer that treats
    each entry by itself. Training is that of dense storage, entry by entry; see README.md of reparam/.

    Raises:
        InputError: storage is neither.
    """

    is_chart: ClassVar[bool] = True

    storage: str = field(default="dense", kw_only=True)

    def __post_init__(self) -> None:
        choice("storage", self.storage, STORAGES)

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self.storage == "dense":
            return
        kinds = known_kinds(optimizer, "storage='active'")
        if Kind.SHARED in kinds.values():
            name = type(optimizer).__name__
            refuse("optimizer", name, "one that treats each entry by itself, as storage='active' asks")


def groups_of(optimizer: torch.optim.Optimizer) -> Groups:
    """The parameter group of each parameter that the optimizer holds, by the parameter's `id`."""
    return {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}
