"""UnitSpeed: the geometry of Sign-In without its learning rate, as a mirror step on θ after any optimizer's step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from commons.checks import number, refuse
from sparse_training.reparam.base import Reparam
from sparse_training.reparam.layer import Groups, Layer
from sparse_training.reparam.optimizer_states import known_kinds
from sparse_training.reparam.sharding import local
from theory import mirror_step

RMS = "rms"
BLOCK = 2**15  # weights a mirror step, so that its intermediate results take no more than a few times 128 kB


@dataclass(frozen=True)
class UnitSpeed(Reparam):
    """θ ← (β/2) sinh(asinh(2θ/β) + 2Δ/β), where Δ is the change that the optimizer made.

    This is the flow dθ = −√(1 + 4θ²/β²) ∇L dt: Sign-In's metric √(4θ² + β²), divided by its value β at θ = 0. Nothing
    is stored but β of each layer, and there is no drift that a reset would have to undo.

    beta: one number for every layer, or "rms": the root mean square of the layer's active weights at the start, which
    then stays and is saved with the run.

    Weight decay λ acts on θ before the mirror step, as θ ← (1 − ηλ)θ, and not through it. The optimizer gets none:
    `Sparse.parameter_groups` states it as "theta_decay". Under SGD with momentum μ the factor is 1 − ηλ/(1 − μ), as
    coupled decay adds up in the momentum. So a weight without gradients decays as a plain one, to first order in ηλ.

    On a CPU the optimizer steps layer by layer, so that beside what plain training holds there is one copy of the
    weights of one layer at a time; on cuda it steps all layers of a parameter group together. It must therefore count
    its steps by parameter, as all that `optimizer_states.STATES` names do.

    Raises:
        InputError: beta is neither positive nor "rms".
    """

    name: ClassVar[str] = "unit-speed"
    decay_share: ClassVar[float] = 0.0
    layerwise: ClassVar[bool] = True
    recordable: ClassVar[bool] = True

    beta: float | str = RMS

    def __post_init__(self) -> None:
        if isinstance(self.beta, str):
            if self.beta != RMS:
                refuse("beta", self.beta, f"a positive number or {RMS!r}")
        else:
            number("beta", self.beta, above=0)

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        known_kinds(optimizer, "stepping layer by layer")

    def begin(self, layers: Sequence[Layer]) -> None:
        """Fix β of each layer, in a buffer beside its weight: float64, 0-d."""
        for layer in layers:
            beta = self.beta
            if isinstance(beta, str):
                active = layer.theta[layer.mask].double()
                beta = float(active.square().mean().sqrt()) if len(active) else 0.0
            value = torch.tensor(beta or 1.0, dtype=torch.float64, device=layer.mask.device)
            layer.module.register_buffer(_buffer(layer), value)

    def beta_of(self, layer: Layer) -> float:
        return float(_beta(layer))

    def speed(self, layer: Layer) -> Tensor:
        """√(1 + 4θ²/β²) of the active weights, 1-d array."""
        theta = layer.theta[layer.mask]
        return torch.hypot(torch.ones_like(theta), theta * (2 / self.beta_of(layer)))

    def after_layer(
        self, layer: Layer, before: Tensor, optimizer: torch.optim.Optimizer, group: dict[str, Any]
    ) -> None:
        (theta,) = layer.parameters
        kept, beta = _kept(optimizer, group), self.beta_of(layer)
        for new, old in zip(_blocks(local(theta.detach())), _blocks(local(before)), strict=True):
            step = new - old
            new.copy_(mirror_step(old.mul_(kept), step, beta, xp=torch))

    def after_layers(
        self, layers: Sequence[Layer], befores: Sequence[Tensor], optimizer: torch.optim.Optimizer, groups: Groups
    ) -> None:
        thetas = [_flat(local(layer.parameters[0].detach())) for layer in layers]
        if not is_far(thetas[0]):
            super().after_layers(layers, befores, optimizer, groups)
            return
        old, new = torch.cat([_flat(local(before)) for before in befores]).double(), torch.cat(thetas).double()
        betas = torch.stack([_beta(layer) for layer in layers]).unbind()
        beta = torch.cat([beta.expand(len(theta)) for beta, theta in zip(betas, thetas, strict=True)])
        kept = _kept(optimizer, groups[id(layers[0].parameters[0])])  # the layers are of one group
        made = mirror_step_unseen(old * kept, new.sub_(old), beta).to(thetas[0].dtype)
        torch._foreach_copy_(thetas, list(torch.split(made, [len(theta) for theta in thetas])))


def is_far(theta: Tensor) -> bool:
    """Whether a look at numbers waits for a device, and float64 is wide enough to do without one."""
    return theta.is_cuda and theta.dtype != torch.float64


def mirror_step_unseen(theta: Tensor, step: Tensor, beta: Tensor) -> Tensor:
    """(β/2) sinh(asinh(2θ/β) + 2Δ/β) as it stands, without a look at the numbers, for which a device would be waited.

    theta, step: float64, of one shape. beta: float64, 0-d or of that shape. Rounded to float32 the result is off by at
    most one unit in the last place of the larger of |θ| and itself, and a step of 0 leaves a float32 number as it is.
    """
    scale = 2 / beta
    return torch.asinh(theta * scale).add_(step * scale).sinh_().div_(scale)


def _beta(layer: Layer) -> Tensor:
    beta: Tensor = getattr(layer.module, _buffer(layer))
    return beta


def _buffer(layer: Layer) -> str:
    return f"{layer.attribute}_beta"


def _flat(tensor: Tensor) -> Tensor:
    """The tensor's entries in the order in which they lie in memory: a view, 1-d."""
    return tensor.as_strided((tensor.numel(),), (1,))


def _blocks(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of at most BLOCK entries that make up the tensor, in the order in which they lie in memory."""
    return torch.split(_flat(tensor), BLOCK)


def _kept(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> float | Tensor:
    """What a step's decay leaves of each weight of a group, as a share; 0-d where the learning rate is a tensor."""
    share: float | Tensor = 1.0 - group["lr"] * group.get("theta_decay", 0.0) * _adds_up(optimizer, group)
    return share


def _adds_up(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> float:
    """By how much more a coupled decay acts in the long run than in one step."""
    if not isinstance(optimizer, torch.optim.SGD):
        return 1.0
    return float((1 - group["dampening"]) / (1 - group["momentum"])) if group["momentum"] else 1.0
