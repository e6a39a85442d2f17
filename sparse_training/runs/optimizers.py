"""Optimizers and learning-rate schedules of a run: their settings as values, and the objects that these build.

Weight decay is stated by its effect on θ. A reparametrization turns it into the decay of its factors.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from commons.checks import choice, number, refuse
from commons.registry import Registry, subclass_of
from sparse_training.reparam.clocked import ClockedAdamW

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class Optimizer(ABC):
    """The settings of an optimizer. lr: the peak learning rate. weight_decay: the decay λ of a plain weight.

    vectors: whether biases and the parameters of normalisations decay too.
    """

    name: ClassVar[str]

    lr: float = 0.1
    weight_decay: float = 0.0
    vectors: bool = True

    def __post_init__(self) -> None:
        number("optimizer.lr", self.lr, above=0)
        number("optimizer.weight_decay", self.weight_decay, at_least=0)

    @abstractmethod
    def build(self, groups: Groups) -> torch.optim.Optimizer:
        """Make the optimizer over parameter groups, each of which states its own weight decay."""

    def build_recordable(self, groups: Groups, lr: torch.Tensor) -> torch.optim.Optimizer | None:
        """As `build`, with steps that a CUDA graph may record; None, the default, if there are none.

        lr: 0-d float32 on the device, from which each step reads the learning rate.
        """
        return None


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with coupled weight decay."""

    name: ClassVar[str] = "sgd"

    momentum: float = 0.9
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number("optimizer.momentum", self.momentum, at_least=0, below=1)
        if self.nesterov and not self.momentum:
            refuse("optimizer.momentum", self.momentum, "above 0, as nesterov=true asks")

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov)

    def build_recordable(self, groups: Groups, lr: torch.Tensor) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=lr, momentum=self.momentum, nesterov=self.nesterov, fused=True)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    clock: whose steps the bias corrections count: those of the "run", or of each "weight" since it was last grown, as
    in SMET (arXiv 2606.00888). grown_warm_up: with the latter, steps in which the rate of a grown weight rises.
    """

    name: ClassVar[str] = "adamw"

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clock: str = "run"
    grown_warm_up: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for beta in self.betas:
            number("optimizer.betas", beta, at_least=0, below=1)
        number("optimizer.eps", self.eps, above=0)
        choice("optimizer.clock", self.clock, ("run", "weight"))
        number("optimizer.grown_warm_up", self.grown_warm_up, at_least=0, integer=True)
        if self.grown_warm_up and self.clock == "run":
            refuse("optimizer.grown_warm_up", self.grown_warm_up, "0 with clock='run'", "set optimizer.clock=weight")

    def build(self, groups: Groups) -> torch.optim.Optimizer:
        if self.clock == "weight":
            return self._clocked(groups, self.lr)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps)

    def build_recordable(self, groups: Groups, lr: torch.Tensor) -> torch.optim.Optimizer:
        if self.clock == "weight":
            return self._clocked(groups, lr)
        return torch.optim.AdamW(groups, lr=lr, betas=self.betas, eps=self.eps, capturable=True, fused=True)

    def _clocked(self, groups: Groups, lr: float | torch.Tensor) -> torch.optim.Optimizer:
        return ClockedAdamW(groups, lr=lr, betas=self.betas, eps=self.eps, warm_up=self.grown_warm_up)


OPTIMIZERS: Registry[type[Optimizer]] = Registry(
    "a subclass of runs.optimizers.Optimizer",
    {kind.name: kind for kind in (SGD, AdamW)},
    accept=subclass_of(Optimizer),
)


@dataclass(frozen=True)
class Schedule(ABC):
    """The learning rate over a run, as a share of its peak.

    warm_up: number of epochs in which the rate rises linearly to the peak.
    """

    name: ClassVar[str]

    warm_up: float = 0.0

    def __post_init__(self) -> None:
        number("schedule.warm_up", self.warm_up, at_least=0)

    def factor(self, step: int, steps_per_epoch: int, steps: int) -> float:
        """The learning rate of step `step`, counted from 0, of `steps` steps, as a share of the peak."""
        rise = self.warm_up * steps_per_epoch
        if step < rise:
            return (step + 1) / (rise + 1)
        return self.after_warm_up(step - rise, steps_per_epoch, max(steps - rise, 1))

    @abstractmethod
    def after_warm_up(self, step: float, steps_per_epoch: int, steps: float) -> float:
        """The share of the peak `step` steps after the warm-up, of the `steps` that follow it."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The rate stays at its peak."""

    name: ClassVar[str] = "constant"

    def after_warm_up(self, step: float, steps_per_epoch: int, steps: float) -> float:
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """½(1 + cos πt), t from 0 to 1 after the warm-up (Loshchilov & Hutter 2017, one cycle)."""

    name: ClassVar[str] = "cosine"

    def after_warm_up(self, step: float, steps_per_epoch: int, steps: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Step(Schedule):
    """The rate is multiplied by `drop` at each epoch in `drops`, counted from the start of training."""

    name: ClassVar[str] = "step"

    drops: tuple[float, ...] = ()
    drop: float = 0.1

    def after_warm_up(self, step: float, steps_per_epoch: int, steps: float) -> float:
        epoch = step / steps_per_epoch + self.warm_up
        return self.drop ** sum(epoch >= bound for bound in self.drops)


@dataclass(frozen=True)
class Triangular(Schedule):
    """The rate rises linearly from 0 to its peak at the share `peak` of training, and falls back to 0 (Smith 2017)."""

    name: ClassVar[str] = "triangular"

    peak: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        number("schedule.peak", self.peak, above=0, below=1)

    def after_warm_up(self, step: float, steps_per_epoch: int, steps: float) -> float:
        share = (step + 1) / steps
        return share / self.peak if share < self.peak else max(1 - share, 1 / steps / 2) / (1 - self.peak)


SCHEDULES: Registry[type[Schedule]] = Registry(
    "a subclass of runs.optimizers.Schedule",
    {kind.name: kind for kind in (Constant, Cosine, Step, Triangular)},
    accept=subclass_of(Schedule),
)
