"""spred (Ziyin & Wang 2023): θ = u ⊙ v, whose ordinary weight decay is an L1 penalty on θ.

It starts with |u| = |v|, and its reset does nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sparse_training.reparam.base import TwoFactors
from sparse_training.reparam.factors import Factors


class Balanced(Factors):
    """u = √|θ|, v = sign(θ) √|θ|: the orbit u² − v² = 0, on which θ = 0 is a fixed point."""

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        root = theta.abs().sqrt()
        return root, theta.sign() * root


@dataclass(frozen=True)
class Spred(TwoFactors):
    """θ = u ⊙ v with |u| = |v| at the start, so that decay λ of both, ½λ(u² + v²), is the penalty λ|θ| (theorem 1).

    The whole weight decay acts on each factor, because an L1 penalty has no plain weight decay that it could match.

    storage: see `TwoFactors`.
    """

    name: ClassVar[str] = "spred"
    leaves_zero: ClassVar[bool] = False  # at u = v = 0 both gradients vanish

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        return [Balanced(mask, self.storage) for mask in masks]
