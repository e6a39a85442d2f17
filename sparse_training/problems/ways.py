"""How one layer of a small problem is written and stepped: plain, at a rate of its own, or by a reparametrization.

The engine's reparametrizations (`sparse_training.reparam`) act on one network; a way acts on tensors that hold the
layer of many networks at once, each with a learning rate of its own, and takes the same steps.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from sparse_training.reparam.ham import LARGEST_EXPONENT
from theory import metric, reset

Latents = tuple[Tensor, ...]


@dataclass(frozen=True)
class Way(ABC):
    """A layer θ as a function of one or two latent tensors, and what follows an optimizer's step on them.

    Every tensor has the shape of θ, whose last axes run over networks; lr broadcasts with it.
    decay_share: the decay of each latent for which θ decays as a plain weight would.
    """

    decay_share = 1.0

    def write(self, theta: Tensor) -> Latents:
        """The latents of θ."""
        return (theta,)

    def read(self, latents: Latents) -> Tensor:
        """θ of the latents."""
        return latents[0]

    def pull(self, latents: Latents, gradient: Tensor) -> Latents:
        """The gradient of each latent from the gradient of θ."""
        return (gradient,)

    def move(self, latents: Latents, updates: Latents, gradient: Tensor, lr: Tensor) -> Latents:
        """The latents after a step of −lr times an optimizer's updates. gradient: that of θ."""
        return tuple(x - lr * update for x, update in zip(latents, updates, strict=True))

    def refresh(self, latents: Latents, steps: int) -> Latents:
        """The latents after what is due when so many steps have been taken; θ stays."""
        return latents

    @abstractmethod
    def speed(self, latents: Latents) -> Tensor:
        """The factor by which a small gradient step of θ is longer than the plain step."""


@dataclass(frozen=True)
class PlainWay(Way):
    """θ ← θ − rate·lr·∇L."""

    rate: float = 1.0

    def move(self, latents: Latents, updates: Latents, gradient: Tensor, lr: Tensor) -> Latents:
        return (latents[0] - self.rate * lr * updates[0],)

    def speed(self, latents: Latents) -> Tensor:
        return torch.full_like(latents[0], self.rate)


@dataclass(frozen=True)
class SignInWay(Way):
    """θ = m ⊙ w on m² − w² = β, put back to it every so many steps; every = 0 never resets."""

    beta: float = 1.0
    every: int = 10
    decay_share = 0.5

    def write(self, theta: Tensor) -> Latents:
        m, w = reset(theta, self.beta, torch)
        return m, w

    def read(self, latents: Latents) -> Tensor:
        return latents[0] * latents[1]

    def pull(self, latents: Latents, gradient: Tensor) -> Latents:
        return latents[1] * gradient, latents[0] * gradient

    def refresh(self, latents: Latents, steps: int) -> Latents:
        return self.write(self.read(latents)) if self.every and steps % self.every == 0 else latents

    def speed(self, latents: Latents) -> Tensor:
        return latents[0] ** 2 + latents[1] ** 2


@dataclass(frozen=True)
class UnitSpeedWay(Way):
    """The mirror step θ ← (β/2) sinh(asinh(2θ/β) − s), s = (2/β)·lr·∇L: Sign-In's geometry with speed 1 at θ = 0.

    Computed as θ cosh s − ½√(4θ² + β²) sinh s, which is the same, with cosh and sinh from e^|s| − 1.
    """

    beta: float = 1.0

    def move(self, latents: Latents, updates: Latents, gradient: Tensor, lr: Tensor) -> Latents:
        theta = latents[0]
        push = 2 / self.beta * lr * updates[0]
        grown = torch.expm1(push.abs())
        cosh_less_one = grown**2 / (2 * (grown + 1))
        sinh = torch.copysign(grown * (grown + 2) / (2 * (grown + 1)), push)
        return (theta + theta * cosh_less_one - (4 * theta**2 + self.beta**2).sqrt() / 2 * sinh,)

    def speed(self, latents: Latents) -> Tensor:
        speed: Tensor = metric(latents[0], self.beta, torch) / self.beta
        return speed


@dataclass(frozen=True)
class HAMWay(Way):
    """A plain step, then θ ← θ·exp(−lr·α·sign(θ)∇L), the exponent within ±5."""

    alpha: float = 2.0

    def move(self, latents: Latents, updates: Latents, gradient: Tensor, lr: Tensor) -> Latents:
        theta = latents[0] - lr * updates[0]
        exponent = -self.alpha * lr * theta.sign() * gradient
        return (theta * exponent.clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp(),)

    def speed(self, latents: Latents) -> Tensor:
        return 1 + self.alpha * latents[0].abs()


@dataclass(frozen=True)
class PowerWay(Way):
    """θ = sign(u)|u|^p; for p < 1 its slope at 0 is infinite, and u = 0 rests."""

    p: float = 0.75

    def write(self, theta: Tensor) -> Latents:
        return (theta.sign() * _power(theta.abs(), 1 / self.p),)

    def read(self, latents: Latents) -> Tensor:
        return latents[0].sign() * _power(latents[0].abs(), self.p)

    def pull(self, latents: Latents, gradient: Tensor) -> Latents:
        return (self._slope(latents[0]) * gradient,)

    def speed(self, latents: Latents) -> Tensor:
        return self._slope(latents[0]) ** 2

    def _slope(self, u: Tensor) -> Tensor:
        size = u.abs()
        return torch.where(size > 0, self.p * _power(torch.where(size > 0, size, 1.0), self.p - 1), 0.0)


def _power(size: Tensor, exponent: float) -> Tensor:
    """size**exponent, 0 at 0: by functions whose result for one entry does not depend on how many there are."""
    return (exponent * size.log()).exp()


class Descent:
    """What an optimizer makes of gradients, for the latents of one layer: "sgd" keeps them, "adam" normalizes them.

    Adam's constants are those of Kingma & Ba 2015: averages .9 and .999, and 1e-8.
    """

    def __init__(self, optimizer: str = "sgd") -> None:
        self.adam = optimizer == "adam"
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []
        self.steps = 0

    def __call__(self, gradients: Latents) -> Latents:
        """The updates, to be taken −lr times."""
        if not self.adam:
            return gradients
        if not self.steps:
            self.first, self.second = ([torch.zeros_like(g) for g in gradients] for _ in range(2))
        self.steps += 1
        for first, second, gradient in zip(self.first, self.second, gradients, strict=True):
            first.mul_(0.9).add_(gradient, alpha=0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        one, two = 1 - 0.9**self.steps, (1 - 0.999**self.steps) ** 0.5
        return tuple(f / one / (s.sqrt() / two + 1e-8) for f, s in zip(self.first, self.second, strict=True))


class Layer:
    """A layer on its way: its latents and its optimizer's averages. decay: the free decay of θ a unit of lr."""

    def __init__(self, way: Way, theta: Tensor, optimizer: str = "sgd", decay: float = 0.0) -> None:
        self.way, self.latents, self.decay = way, way.write(theta), decay
        self.descent, self.steps = Descent(optimizer), 0

    @property
    def theta(self) -> Tensor:
        """The weights."""
        return self.way.read(self.latents)

    def step(self, gradient: Tensor, lr: Tensor) -> None:
        """One step along ∂L/∂θ, of the shape of θ."""
        updates = self.descent(self.way.pull(self.latents, gradient))
        self.latents = self.way.move(self.latents, updates, gradient, lr)
        if self.decay:
            kept = 1 - lr * self.decay * self.way.decay_share
            self.latents = tuple(x * kept for x in self.latents)
        self.steps += 1
        self.latents = self.way.refresh(self.latents, self.steps)
