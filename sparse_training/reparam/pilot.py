"""PILoT (Jacobs & Burkholz 2025, arXiv 2408.09966): θ = m ⊙ w from m² − w² = β, with a decay that follows a target.

Its factors are never put back to the orbit on which they start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from commons.checks import number
from sparse_training.reparam.base import TwoFactors, groups_of
from sparse_training.reparam.factors import Factors
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.sign_in import Orbit, mean_beta


class Decaying(Orbit):
    """The chart of Sign-In, with the present strength of the decay as a buffer that is saved."""

    strength: Tensor

    def __init__(self, mask: Tensor, beta: float, strength: float, storage: str = "dense") -> None:
        super().__init__(mask, beta, storage)
        self.register_buffer("strength", torch.tensor(strength, dtype=torch.float64, device=mask.device))


@dataclass(frozen=True)
class PILoT(TwoFactors):
    """θ = m ⊙ w with the regularizer ½α(m² + w²), whose implicit bias on θ moves from L2 to L1 as m² − w² shrinks.

    beta: m² − w² at the start. strength: α at the start; each step takes the factors times 1 − ηα. growth: at each
    reset α is multiplied by it while more than `share` of the active weights have |θ| > threshold, and divided by it
    otherwise. The paper steers α by the sparsity of the whole network; on a fixed mask the target is among the active
    weights. storage: see `TwoFactors`.

    Raises:
        InputError: a setting out of range.
    """

    name: ClassVar[str] = "pilot"
    decay_share: ClassVar[float] = 0.5
    recordable: ClassVar[bool] = True

    beta: float = 1.0
    strength: float = 1e-4
    growth: float = 1.05
    share: float = 0.9
    threshold: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        number("beta", self.beta, above=0)
        number("strength", self.strength, at_least=0)
        number("growth", self.growth, at_least=1)
        number("share", self.share, at_least=0, at_most=1)
        number("threshold", self.threshold, at_least=0)

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        return [Decaying(mask, self.beta, self.strength, self.storage) for mask in masks]

    def after_step(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer) -> None:
        groups = groups_of(optimizer)
        for layer in layers:
            assert isinstance(layer.factors, Decaying)
            for factor in layer.parameters:
                factor.mul_((1 - groups[id(factor)]["lr"] * layer.factors.strength).to(factor.dtype))

    def beta_of(self, layer: Layer) -> float:
        return mean_beta(layer)

    def reset(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer | None) -> None:
        """Move the strength toward the target; the factors stay."""
        above = sum(int((layer.theta.abs() > self.threshold).sum()) for layer in layers)
        dense = above > self.share * sum(int(layer.mask.sum()) for layer in layers)
        for layer in layers:
            assert isinstance(layer.factors, Decaying)
            layer.factors.strength *= self.growth if dense else 1 / self.growth
