"""What a problem is: many small networks that are trained at once, in arms that differ in one thing each."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sparse_training.problems.ways import PlainWay, SignInWay, Way

Array = NDArray[np.float64]
PLAIN = "plain"


@dataclass(frozen=True)
class Arm:
    """One row of a problem's table.

    ways: how each layer is stepped, from input to output; empty means plain.   start: how the weights begin, as the
    problem names it.   dense: no mask.   share: of the seeds that are run, the first so many; for arms that are slow.
    """

    label: str
    ways: tuple[Way, ...] = ()
    start: str = "drawn"
    dense: bool = False
    share: float = 1.0

    def of(self, seeds: Sequence[int]) -> Sequence[int]:
        """The arm's share of seeds, the first ones."""
        return seeds[: max(1, round(self.share * len(seeds)))]

    @property
    def needs_control(self) -> bool:
        """Whether layer rates at this arm's mean speeds belong beside it: where Sign-In steps a layer."""
        return any(isinstance(way, SignInWay) for way in self.ways)

    def control(self, speeds: Sequence[float]) -> "Arm":
        """The arm of plain layers whose rates are in the ratio of these mean speeds, from input to output."""
        ways = tuple(PlainWay(speed / speeds[0]) for speed in speeds)
        return replace(self, label=f"layer rates at the speeds of {self.label}", ways=ways)


@dataclass(frozen=True)
class Runs:
    """What came of one arm at one or several learning rates.

    loss: (seeds, rates), the problem's quantity at the end; at most 1, which stands for a run that diverged.
    diverged: (seeds, rates) bool.   measures: further numbers a seed by name, each (seeds, rates); nan where a number
    does not apply.   speeds: mean speed of each layer, from input to output, of the runs that did not diverge.   cost:
    what the start cost, as a share of training.
    """

    loss: Array
    diverged: NDArray[np.bool_]
    measures: Mapping[str, Array] = field(default_factory=dict)
    speeds: tuple[float, ...] = ()
    cost: float = 0.0


def mean_speeds(speeds: Tensor, diverged: Tensor) -> tuple[float, ...]:
    """The mean speed of each layer, from (layers, seeds, rates) and the runs that diverged (seeds, rates)."""
    whole = ~diverged if (~diverged).any() else torch.ones_like(diverged)
    return tuple(speeds[:, whole].mean(1).tolist())


@dataclass(frozen=True)
class Problem(ABC):
    """A task on which signs decide. Its fields are its settings; a run is determined by them, the arm and the seed.

    quantity, meaning: what an arm is judged by, the smaller the better, in words.   effect: the smallest effect of
    interest on it; the default number of seeds was chosen for it.
    rates: the learning rates that tuning begins with; it goes on until the best is not at an end.   truth: label of
    the arm that starts from the teacher's signs, whose gain over plain is the gap that others close in part.
    decay: the decay of θ a unit of learning rate, the same in every arm (factors get half of it, and so on).
    """

    name: ClassVar[str]
    quantity: ClassVar[str] = "relative loss"
    meaning: ClassVar[str] = "loss at the end over that of the network that answers 0"
    default_seeds: ClassVar[int]
    default_tuning_seeds: ClassVar[int]
    effect: ClassVar[float]
    rates: ClassVar[tuple[float, ...]]
    truth: ClassVar[str] = "true signs"

    decay: float = 0.0

    @abstractmethod
    def arms(self) -> list[Arm]:
        """The rows of the table, plain first; controls at the mean speeds are added by `measure`."""

    @abstractmethod
    def run(self, arm: Arm, seeds: Sequence[int], rates: Sequence[float], *, full: bool = False) -> Runs:
        """Train the arm from every seed at every learning rate. full: also the measures of the table."""
