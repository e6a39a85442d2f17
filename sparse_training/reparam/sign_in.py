"""Sign-In (Gadhikar et al. 2025): θ = m ⊙ w with m² − w² = β, put back to that orbit by the reset.

The reset moves θ by one rounding at most; when to reset is the caller's choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from commons.checks import choice, number, refuse
from sparse_training.reparam.base import TwoFactors
from sparse_training.reparam.factors import Factors
from sparse_training.reparam.layer import Layer
from sparse_training.reparam.optimizer_states import Kind, known_kinds
from theory import reset

MOMENTA = ("keep", "zero", "transport")


class Orbit(Factors):
    """m = √((√(4θ² + β²) + β)/2), w = θ/m: the point of the orbit m² − w² = β, m > 0, over θ.

    m ⊙ w is within one unit in the last place of θ, in half precision too; float16 needs β ≤ 1 (see `theory.reset`).
    """

    def __init__(self, mask: Tensor, beta: float, storage: str = "dense") -> None:
        super().__init__(mask, storage)
        self.beta = beta

    def split(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        m, w = reset(theta, self.beta, xp=torch)
        return m, w


@dataclass(frozen=True)
class SignIn(TwoFactors):
    """θ = m ⊙ w, under whose flow dθ = −√(4θ² + β²) ∇L dt while m² − w² = β.

    beta: one number for every layer, or (first, last) with a geometric progression from input to output; Theorem 5.2
    asks for a larger β toward the output.
    momentum: what a reset does to the optimizer's averages. "keep" leaves them, "zero" sets them to 0, and
    "transport" rewrites them as if the gradients ∂L/∂θ behind them had met the new factors. The last two need an
    optimizer whose state is known, see `optimizer_states.STATES`; averages that are neither of gradients nor of their
    squares stay as they are in a transport. Under Adam, which divides by the size of each factor's gradients, "keep"
    differs from "transport" only where the reset turns the sign of m, and there it steps against the gradient at first.
    "zero" makes the next step (1 − β₁)/√(1 − β₂) times too long, 3.16 times for (0.9, 0.999), because Adam's count of
    steps goes on; `ClockedAdamW` starts its clocks again.
    storage: see `TwoFactors`.

    Under SGD without momentum, with learning rate η, decay λ' of the factors and g = ∂L/∂θ, one step takes
    β to β((1 − ηλ')² − η²g²), exactly; this is why resets are needed.

    Raises:
        InputError: beta is not positive, or momentum is none of the three.
    """

    name: ClassVar[str] = "sign-in"
    decay_share: ClassVar[float] = 0.5

    beta: float | tuple[float, float] = 1.0
    momentum: str = "keep"

    def __post_init__(self) -> None:
        super().__post_init__()
        for value in self.beta if isinstance(self.beta, tuple) else (self.beta,):
            number("beta", value, above=0)
        choice("momentum", self.momentum, MOMENTA)

    def betas(self, layers: int) -> list[float]:
        """β of each layer, from input to output."""
        first, last = self.beta if isinstance(self.beta, tuple) else (self.beta, self.beta)
        return [first * (last / first) ** (index / max(layers - 1, 1)) for index in range(layers)]

    def factors(self, masks: Sequence[Tensor]) -> list[Factors]:
        betas = self.betas(len(masks))
        return [Orbit(mask, beta, self.storage) for mask, beta in zip(masks, betas, strict=True)]

    def check_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        super().check_optimizer(optimizer)
        if self.momentum == "keep":
            return
        kinds = known_kinds(optimizer, f"momentum={self.momentum!r}")
        if self.momentum == "transport" and Kind.SHARED in kinds.values():
            name = type(optimizer).__name__
            refuse("optimizer", name, "one with averages for each weight alone, as momentum='transport' asks")

    def beta_of(self, layer: Layer) -> float:
        """The present mean of m² − w² over the active weights; a reset puts it back to `beta`."""
        return mean_beta(layer)

    def reset(self, layers: Sequence[Layer], optimizer: torch.optim.Optimizer | None) -> None:
        """Put every layer's factors back to m² − w² = β with m > 0; θ moves by one rounding at most."""
        for layer in layers:
            assert layer.factors is not None
            m, w = layer.parameters
            new_m, new_w = layer.factors.right_inverse(layer.factors.theta(m, w))
            if optimizer is not None and self.momentum == "zero":
                for tensor in layer.states(optimizer):
                    tensor.zero_()
            elif optimizer is not None and self.momentum == "transport":
                _transport((m, w), (new_m, new_w), optimizer)
            m.copy_(new_m)
            w.copy_(new_w)


def mean_beta(layer: Layer) -> float:
    """The mean of m² − w² over the active weights of a layer that is written as m ⊙ w."""
    m, w = (factor.detach() for factor in layer.parameters)  # both 0 off the mask, or not there
    return float(((m - w) * (m + w)).sum(dtype=torch.float64) / layer.mask.sum())


def _transport(
    old: tuple[torch.nn.Parameter, torch.nn.Parameter],
    new: tuple[Tensor, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Rewrite the averages of gradients and of squared gradients of one layer for the new factors.

    An average (a_m, a_w) of the gradients (g w, g m) becomes (G w′, G m′), where G = (a_m w + a_w m)/(m² + w²) is the
    average of g itself. An average of squares becomes (S w′², S m′²), where S = (a_m + a_w)/(m² + w²).
    """
    kinds = known_kinds(optimizer, "momentum='transport'")
    m, w = (_widened(factor) for factor in old)
    new_m, new_w = (_widened(factor) for factor in new)
    total = m * m + w * w
    for key, kind in kinds.items():
        of_m, of_w = (optimizer.state[factor].get(key) if factor in optimizer.state else None for factor in old)
        if of_m is None or of_w is None or kind not in (Kind.FIRST, Kind.SECOND):
            continue
        if kind is Kind.SECOND:
            average = torch.where(total > 0, (of_m + of_w) / total, 0.0)
            of_m.copy_(average * new_w**2)
            of_w.copy_(average * new_m**2)
        else:
            average = torch.where(total > 0, (of_m * w + of_w * m) / total, 0.0)
            of_m.copy_(average * new_w)
            of_w.copy_(average * new_m)


def _widened(tensor: Tensor) -> Tensor:
    """The tensor itself, or its float32 copy where it has half precision."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
