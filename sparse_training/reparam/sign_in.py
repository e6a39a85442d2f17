"""Sign-In (Gadhikar et al. 2025): θ = m ⊙ w with m² − w² = β, put back to that orbit by the reset.

It never moves θ by more than one rounding; when to reset is the caller's choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from commons.checks import choice, number
from sparse_training.reparam.base import Factors, Reparam
from sparse_training.reparam.sparse import Layer
from theory import reset

MOMENTA = ("keep", "zero", "transport")


class Orbit(Factors):
    """m = √((√(4θ² + β²) + β)/2), w = θ/m: the point of the orbit m² − w² = β, m > 0, over θ."""

    def __init__(self, mask: Tensor, beta: float) -> None:
        super().__init__(mask)
        self.beta = beta

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        m, w = reset(theta, self.beta, xp=torch)
        return m, w


@dataclass(frozen=True)
class SignIn(Reparam):
    """θ = m ⊙ w, under whose flow dθ = −√(4θ² + β²) ∇L dt while m² − w² = β.

    beta: one number for every layer, or (first, last) with a geometric progression from input to output; Theorem 5.2
    asks for larger ones toward the output.
    momentum: what a reset does to the optimizer's averages: "keep" them, "zero" them, or "transport" them, that is
    rewrite them as if the gradients ∂L/∂θ behind them had met the new factors.

    Under SGD without momentum, with learning rate η, decay λ' of the factors and g = ∂L/∂θ, one step takes
    β to β((1 − ηλ')² − η²g²), exactly; this is why resets are needed.

    Raises:
        InputError: beta is not positive, or an unknown momentum.
    """

    name: ClassVar[str] = "sign-in"
    decay_share: ClassVar[float] = 0.5

    beta: float | tuple[float, float] = 1.0
    momentum: str = "keep"

    def __post_init__(self) -> None:
        for value in self.beta if isinstance(self.beta, tuple) else (self.beta,):
            number("beta", value, above=0)
        choice("momentum", self.momentum, MOMENTA)

    def betas(self, layers: int) -> list[float]:
        """β of each layer, from input to output."""
        first, last = self.beta if isinstance(self.beta, tuple) else (self.beta, self.beta)
        return [first * (last / first) ** (index / max(layers - 1, 1)) for index in range(layers)]

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        return [Orbit(mask, beta) for mask, beta in zip(masks, self.betas(len(masks)), strict=True)]

    def reset(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer | None) -> None:
        """Put every layer's factors back to m² − w² = β with m > 0; θ moves by one rounding at most."""
        for layer in layers:
            assert layer.factors is not None
            m, w = layer.parameters
            new = layer.factors.right_inverse(m * w)
            if optimizer is not None and self.momentum == "zero":
                for tensor in layer.states(optimizer):
                    tensor.zero_()
            elif optimizer is not None and self.momentum == "transport":
                _transport((m, w), new, optimizer)
            m.copy_(new[0])
            w.copy_(new[1])


def _transport(
    old: tuple[torch.nn.Parameter, ...], new: tuple[Tensor, Tensor], optimizer: torch.optim.Optimizer
) -> None:
    """Averages (a_m, a_w) of (g w, g m) become (G w′, G m′), G = (a_m w + a_w m)/(m² + w²), the average of g itself.

    Averages of squares likewise, with the squares of the factors.
    """
    m, w = old
    for key, of_m in optimizer.state[m].items():
        of_w = optimizer.state[w][key]
        if not isinstance(of_m, Tensor) or of_m.shape != m.shape:
            continue
        if "sq" in key:
            total = m * m + w * w
            average = torch.where(total > 0, (of_m + of_w) / total, 0.0)
            of_m.copy_(average * new[1] ** 2)
            of_w.copy_(average * new[0] ** 2)
        else:
            total = m * m + w * w
            average = torch.where(total > 0, (of_m * w + of_w * m) / total, 0.0)
            of_m.copy_(average * new[1])
            of_w.copy_(average * new[0])
