"""What optimizers make of slopes: heavy-ball momentum and Adam, for many starts at once."""

from abc import ABC, abstractmethod

import torch

from commons import number


class Rule(ABC):
    """Turns slopes into the directions in which weights are stepped, by what it remembers of earlier slopes."""

    @abstractmethod
    def direction(self, i: int, slope: torch.Tensor) -> torch.Tensor:
        """The direction (N,) of weight i from its slope (N,), once a step."""

    @abstractmethod
    def forget(self, i: int, now: torch.Tensor) -> None:
        """Begin weight i anew in the starts where now (N,) is true."""


class HeavyBall(Rule):
    """v ← momentum·v + slope, in the direction of v."""

    def __init__(self, weights: list[torch.Tensor], momentum: float) -> None:
        self._momentum = number("momentum", momentum, at_least=0, below=1)
        self._velocity = [torch.zeros_like(x) for x in weights]

    def direction(self, i: int, slope: torch.Tensor) -> torch.Tensor:
        self._velocity[i] = self._momentum * self._velocity[i] + slope
        return self._velocity[i]

    def forget(self, i: int, now: torch.Tensor) -> None:
        self._velocity[i] = torch.where(now, 0.0, self._velocity[i])


class Adam(Rule):
    """Adam (Kingma & Ba 2015, algorithm 1), with a clock for each weight and start, and ε (N,) of each start."""

    def __init__(self, weights: list[torch.Tensor], betas: tuple[float, float], eps: torch.Tensor) -> None:
        self._betas = tuple(number("betas", beta, at_least=0, below=1) for beta in betas)
        self._eps = eps
        self._average, self._squares, self._clock = ([torch.zeros_like(x) for x in weights] for _ in range(3))

    def direction(self, i: int, slope: torch.Tensor) -> torch.Tensor:
        first, second = self._betas
        clock = self._clock[i] = self._clock[i] + 1
        average = self._average[i] = first * self._average[i] + (1 - first) * slope
        squares = self._squares[i] = second * self._squares[i] + (1 - second) * slope * slope
        size = (squares / (1 - second**clock)).sqrt() + self._eps
        return torch.where(size > 0, average / (1 - first**clock) / size, 0.0)

    def forget(self, i: int, now: torch.Tensor) -> None:
        for held in (self._average, self._squares, self._clock):
            held[i] = torch.where(now, 0.0, held[i])
