"""The same Hessian in other spaces than θ: in the factors (m, w) of θ = m ⊙ w, and in the metric of their flow.

Each space is labelled by its name; sharpness without a label is in θ.
"""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from commons.checks import choice, number, refuse
from sparse_training.sharpness.base import EXACT, UNKNOWN, Rounding, SymmetricOperator
from sparse_training.sharpness.operator import HessianOperator
from theory import metric, reset

SPACES = ("theta", "factors", "flow")


class FactorOperator(SymmetricOperator):
    """The Hessian of L(m ⊙ w) in the vector (m, w), from one product in θ.

    It takes (ṁ, ẇ) to (w ⊙ Hu + g ⊙ ẇ, m ⊙ Hu + g ⊙ ṁ), where u = w ⊙ ṁ + m ⊙ ẇ and g = ∂L/∂θ. hessian: the operator
    in θ. m, w: (size,) each, with m ⊙ w = θ.
    """

    def __init__(self, hessian: HessianOperator, m: Tensor, w: Tensor) -> None:
        super().__init__(2 * hessian.size, hessian.dtype, hessian.device)
        self.hessian, self.m, self.w = hessian, m, w
        self._scale = float(torch.hypot(m, w).max())

    @property
    def gradient_equivalents(self) -> float:
        return self.hessian.gradient_equivalents

    @property
    def unseen(self) -> float:
        return self.hessian.unseen

    def _product(self, v: Tensor) -> Tensor:
        along_m, along_w = v.chunk(2)
        image, g = self.hessian @ (self.w * along_m + self.m * along_w), self.hessian.gradient
        return torch.cat([self.w * image + g * along_w, self.m * image + g * along_m])

    def rounding(self, v: Tensor) -> Rounding:
        along_m, along_w = v.chunk(2)
        found = self.hessian.rounding(self.w * along_m + self.m * along_w).scaled(1.0, self._scale)
        if found in (EXACT, UNKNOWN):
            return found
        of_gradient = float((self._gradient - self.hessian.gradient).abs().max())
        return Rounding(found.value + of_gradient, found.vector + of_gradient)

    def in_float64(self, v: Tensor) -> Tensor:
        along_m, along_w = v.chunk(2)
        m, w, g = self.m.double(), self.w.double(), self._gradient
        image = self.hessian.in_float64(w * along_m + m * along_w)
        return torch.cat([w * image + g * along_w, m * image + g * along_m])

    @cached_property
    def _gradient(self) -> Tensor:
        return self.hessian.gradient_in_float64()


class FlowOperator(SymmetricOperator):
    """The map G^½ H G^½ of a hessian H, with G = √(4θ² + β²), the metric (size,).

    Its eigenvalues are the rates at which the flow θ̇ = −G ∇L approaches a minimum along each eigenvector.
    """

    def __init__(self, hessian: HessianOperator, metric: Tensor) -> None:
        super().__init__(hessian.size, hessian.dtype, hessian.device)
        self.hessian, self._root = hessian, metric.sqrt()

    @property
    def gradient_equivalents(self) -> float:
        return self.hessian.gradient_equivalents

    @property
    def unseen(self) -> float:
        return self.hessian.unseen

    def _product(self, v: Tensor) -> Tensor:
        return self._root * (self.hessian @ (self._root * v))

    def rounding(self, v: Tensor) -> Rounding:
        return self.hessian.rounding(self._root * v).scaled(1.0, float(self._root.max()))

    def in_float64(self, v: Tensor) -> Tensor:
        root = self._root.double()
        return root * self.hessian.in_float64(root * v)


def in_space(
    hessian: HessianOperator, space: str, beta: float | Mapping[str, float] | None = None
) -> SymmetricOperator:
    """Return a hessian as an operator in "theta", in the "factors" (m, w), m² − w² = β, or in the "flow" metric of β.

    beta: one number, or one for each parameter that has coordinates, by name; "theta" needs none.

    Raises:
        InputError: The space is unknown, or β is missing for it or not positive.
    """
    choice("space", space, SPACES)
    if space == "theta":
        return hessian
    theta = hessian.coordinates.vector(hessian.coordinates.values).detach()
    each = _beta_of_each(hessian, space, beta)
    if space == "flow":
        return FlowOperator(hessian, metric(theta, each, xp=torch))
    return FactorOperator(hessian, *reset(theta, each, xp=torch))


def _beta_of_each(hessian: HessianOperator, space: str, beta: float | Mapping[str, float] | None) -> float | Tensor:
    """β as one number, or as a vector (size,) with that of each coordinate's layer."""
    if beta is None:
        refuse("beta", None, f"the β of the factors, which space={space!r} needs")
    if not isinstance(beta, Mapping):
        return number("beta", beta, above=0)
    coordinates = hessian.coordinates
    for name in coordinates.names:
        if name not in beta:
            refuse("beta", list(beta), f"with a β for {name}")
    layers = zip(coordinates.names, coordinates.values, strict=True)
    return coordinates.vector([torch.full_like(value, beta[name], requires_grad=False) for name, value in layers])
