"""The same Hessian seen in other spaces than θ: in the factors (m, w) of θ = m ⊙ w, and in the metric of their flow.

Each is labelled by its name; sharpness without a label is in θ.
"""

import torch
from torch import Tensor

from commons.checks import choice
from sparse_training.sharpness.base import SymmetricOperator
from sparse_training.sharpness.operator import HessianOperator

SPACES = ("theta", "factors", "flow")


class FactorOperator(SymmetricOperator):
    """Hessian of L(m ⊙ w) in the vector (m, w), from one product in θ.

    With u = w ⊙ ṁ + m ⊙ ẇ and g = ∂L/∂θ: (w ⊙ Hu + g ⊙ ẇ, m ⊙ Hu + g ⊙ ṁ). m, w: (size,) each, with m ⊙ w = θ.
    """

    def __init__(self, hessian: HessianOperator, m: Tensor, w: Tensor) -> None:
        super().__init__(2 * hessian.size, hessian.dtype, hessian.device)
        self.hessian, self.m, self.w = hessian, m, w

    @property
    def gradient_equivalents(self) -> float:
        return self.hessian.gradient_equivalents

    def _product(self, v: Tensor) -> Tensor:
        along_m, along_w = v.chunk(2)
        image, g = self.hessian @ (self.w * along_m + self.m * along_w), self.hessian.gradient
        return torch.cat([self.w * image + g * along_w, self.m * image + g * along_m])


class FlowOperator(SymmetricOperator):
    """G^½ H G^½ with G = √(4θ² + β²), whose eigenvalues are those of the flow θ̇ = −G ∇L linearized at a minimum."""

    def __init__(self, hessian: HessianOperator, metric: Tensor) -> None:
        super().__init__(hessian.size, hessian.dtype, hessian.device)
        self.hessian, self._root = hessian, metric.sqrt()

    @property
    def gradient_equivalents(self) -> float:
        return self.hessian.gradient_equivalents

    def _product(self, v: Tensor) -> Tensor:
        return self._root * (self.hessian @ (self._root * v))


def in_space(hessian: HessianOperator, space: str, beta: float = 1.0) -> SymmetricOperator:
    """The operator in "theta", in the "factors" (m, w) of a reset to m² − w² = β, or in the "flow" metric of that β."""
    from theory import metric, reset

    choice("space", space, SPACES)
    if space == "theta":
        return hessian
    theta = hessian.coordinates.vector(hessian.coordinates.values).detach()
    if space == "flow":
        return FlowOperator(hessian, metric(theta, beta, xp=torch))
    return FactorOperator(hessian, *reset(theta, beta, xp=torch))
