"""HAM, hyperbolic aware minimization (arXiv 2506.02630): a multiplicative step on θ after each optimizer step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from commons.checks import number
from sparse_training.reparam.base import Reparam, groups_of
from sparse_training.reparam.layer import Layer, together
from sparse_training.reparam.sharding import local

LARGEST_EXPONENT = 5.0
DECAYS = {"imagenet": 1e-3, "cifar100": 16e-3}
"""β_h by data set, from the readme of the authors' code for arXiv 2506.02630; α is 200 for both."""


@dataclass(frozen=True)
class HAM(Reparam):
    """θ ← θ · exp(clip(η(−α sign(θ) ∇L − decay), ±5)) after each step of any optimizer with learning rate η.

    ∇L is the gradient that the step used. decay is the paper's β_h, which shrinks weights at the rate η · decay; it has
    nothing to do with Sign-In's β. `DECAYS` has its published values by data set.

    Raises:
        InputError: alpha or decay is negative.
    """

    name: ClassVar[str] = "ham"
    reads_gradient: ClassVar[bool] = True
    recordable: ClassVar[bool] = True

    alpha: float = 200.0
    decay: float = DECAYS["imagenet"]

    def __post_init__(self) -> None:
        number("alpha", self.alpha, at_least=0)
        number("decay", self.decay, at_least=0)

    def beta_of(self, layer: Layer) -> float | None:
        return 2 / self.alpha if self.alpha else None

    def speed(self, layer: Layer) -> Tensor:
        """1 + α|θ| of the active weights, 1-d array: the optimizer's own step, and the multiplicative one."""
        return 1 + self.alpha * layer.theta.detach()[layer.mask].abs()

    def after_step(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer) -> None:
        groups = groups_of(optimizer)
        for part in together([layer for layer in layers if layer.parameters[0].grad is not None], groups):
            lr = groups[id(part[0].parameters[0])]["lr"]
            thetas = [local(layer.parameters[0].detach()) for layer in part]
            gradients = [local(layer.parameters[0].grad) for layer in part]  # type: ignore[arg-type]
            exponents = list(torch._foreach_sign(thetas))
            torch._foreach_mul_(exponents, gradients)
            of_lr = isinstance(lr, Tensor)  # then it is multiplied on the device, after the rest
            torch._foreach_mul_(exponents, -self.alpha * (1.0 if of_lr else lr))
            torch._foreach_sub_(exponents, self.decay * (1.0 if of_lr else lr))
            if of_lr:
                torch._foreach_mul_(exponents, lr)
            torch._foreach_clamp_min_(exponents, -LARGEST_EXPONENT)
            torch._foreach_clamp_max_(exponents, LARGEST_EXPONENT)
            torch._foreach_exp_(exponents)
            torch._foreach_mul_(thetas, exponents)
