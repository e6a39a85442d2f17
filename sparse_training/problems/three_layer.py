"""Rung 2: a sparse network of three layers learns a teacher of its own form, on the teacher's mask or another one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from commons.checks import choice, number
from sparse_training.problems.base import PLAIN, Arm, Array, Problem, Runs, mean_speeds
from sparse_training.problems.networks import (
    Weights,
    descend,
    flip_shares,
    layers_of,
    outputs,
    signs_of_one,
    stacked,
)
from sparse_training.problems.ways import PlainWay, SignInWay
from sparse_training.seeding import generator
from sparse_training.sign_init import GRADIENT, SIGN_INITS

SIZES = (16, 16, 8, 1)  # inputs, two hidden layers, output
S = 4  # inputs that a hidden neuron reads
TEST = 2048  # held-out samples a seed
CHUNK = 50  # steps whose batches are drawn at once
STARTS = ("drawn", "true signs", "true bottom signs", "true top signs", "right magnitudes, random signs")


@dataclass(frozen=True)
class Networks:
    """Teachers and drawn students of many seeds, float32; masks are of the student."""

    teacher: Weights
    student: Weights
    masks: Weights


@dataclass(frozen=True)
class ThreeLayer(Problem):
    """A ReLU network 16-16-8-1 without biases, 4 inputs a hidden neuron, trained on fresh batches of x ~ N(0, I₁₆).

    The teacher has weights N(0, 2/4) in the hidden layers and ±1/√8 in the output. The student is drawn likewise, its
    output weights from N(0, 1/8).

    The learning rate falls linearly to 0, without which the end of SGD is noise and a large rate looks good by chance.

    optimizer: "sgd" without momentum, or "adam".   mask: "teacher", the teacher's own, or "random", another draw of it.
    sign_samples: samples that a sign initialization may look at.
    """

    name: ClassVar[str] = "three-layer"
    default_seeds: ClassVar[int] = 64
    default_tuning_seeds: ClassVar[int] = 32
    effect: ClassVar[float] = 0.05

    optimizer: str = "sgd"
    mask: str = "teacher"
    steps: int = 2000
    batch: int = 32
    sign_samples: int = 700

    def __post_init__(self) -> None:
        choice("optimizer", self.optimizer, ("sgd", "adam"))
        choice("mask", self.mask, ("teacher", "random"))
        number("decay", self.decay, at_least=0)
        for name in ("steps", "batch", "sign_samples"):
            number(name, getattr(self, name), at_least=1, integer=True)

    @property
    def rates(self) -> tuple[float, ...]:  # type: ignore[override]
        """Adam's steps are about lr long whatever the gradient is, so its grid begins lower."""
        return (0.008, 0.016, 0.032) if self.optimizer == "adam" else (0.16, 0.32, 0.64)

    def arms(self) -> list[Arm]:
        uniform, layered = (SignInWay(1.0),) * 3, (SignInWay(0.25), SignInWay(0.5), SignInWay(1.0))
        return [
            Arm(PLAIN),
            Arm("output rate x4", (PlainWay(), PlainWay(), PlainWay(4.0))),
            Arm("Sign-In β = 1", uniform),
            Arm("Sign-In β = (.25, .5, 1)", layered),
            *(Arm(start, start=start) for start in STARTS[1:]),
            *(Arm(f"sign_init {name}", start=name) for name in SIGN_INITS),
        ]

    def run(self, arm: Arm, seeds: Sequence[int], rates: Sequence[float], *, full: bool = False) -> Runs:
        drawn = draw(seeds, self.mask)
        start, cost = self._start(arm, drawn, seeds)
        lr = torch.tensor(rates)[:, None, None]
        masks = [m[:, None] for m in drawn.masks]
        teacher = [t[:, None] for t in drawn.teacher]
        begin = [w[:, None].expand(-1, len(rates), -1, -1).contiguous() for w in start]
        layers = layers_of(arm, begin, self.optimizer, self.decay)

        def half_square(weights: Weights, x: Tensor) -> Tensor:
            return (outputs(weights, x) - outputs(teacher, x)).square().mean((-1, -2)).sum() / 2

        speeds = torch.zeros(len(layers), len(seeds), len(rates))
        descend(layers, masks, lr, self._batches(seeds), self.steps, half_square, speeds if full else None)
        weights = [layer.theta for layer in layers]
        loss = self._test_loss(weights, teacher, seeds)
        diverged = ~(loss <= 1)
        measures = _measures(begin, weights, teacher, masks) if full else {}
        relative = torch.where(diverged, 1.0, loss).double().numpy()
        return Runs(relative, diverged.numpy(), measures, mean_speeds(speeds / self.steps, diverged), cost)

    def _batches(self, seeds: Sequence[int]) -> Iterator[Tensor]:
        """(seeds, 1, batch, 16) inputs, each seed's from its own stream."""
        streams = [generator(seed, "three-layer", "batches") for seed in seeds]
        for first in range(0, self.steps, CHUNK):
            shape = (min(CHUNK, self.steps - first), self.batch, SIZES[0])
            chunk = torch.stack([torch.randn(shape, generator=stream) for stream in streams], 1)
            yield from chunk[:, :, None].unbind()

    def _test_loss(self, weights: Weights, teacher: Weights, seeds: Sequence[int]) -> Tensor:
        """(seeds, rates): mean squared error on held-out inputs over that of the answer 0."""
        drawn = [torch.randn(TEST, SIZES[0], generator=generator(seed, "three-layer", "test")) for seed in seeds]
        x = torch.stack(drawn)[:, None]
        y = outputs(teacher, x)
        return (outputs(weights, x) - y).square().mean((-1, -2)) / y.square().mean((-1, -2))

    def _start(self, arm: Arm, drawn: Networks, seeds: Sequence[int]) -> tuple[Weights, float]:
        """The start of the arm, and what it cost as a share of training."""
        if arm.start in STARTS:
            return _known_start(arm.start, drawn), 0.0
        found = [self._find_signs(arm.start, seed, drawn, index) for index, seed in enumerate(seeds)]
        passes = sum(passes for _, passes in found) / len(found)
        signs = stacked([signs for signs, _ in found])
        signed = [
            torch.copysign(w, sign) * mask for w, sign, mask in zip(drawn.student, signs, drawn.masks, strict=True)
        ]
        return signed, passes / (GRADIENT * self.steps * self.batch)

    def _find_signs(self, method: str, seed: int, drawn: Networks, index: int) -> tuple[Weights, int]:
        """The signs of one network's layers that a sign initialization finds, and its forward passes."""
        x = torch.randn(self.sign_samples, SIZES[0], generator=generator(seed, "three-layer", "signs"))
        y = outputs([w[index] for w in drawn.teacher], x)
        student, masks = ([part[index] for part in parts] for parts in (drawn.student, drawn.masks))
        return signs_of_one(student, masks, method, (x, y), mse_loss, seed)


def draw(seeds: Sequence[int], mask: str = "teacher") -> Networks:
    """Teachers, students and masks, each from its seed alone."""
    networks = []
    for seed in seeds:
        stream = generator(seed, "three-layer", "start")
        masks = {"teacher": _masks(stream), "random": _masks(stream)}
        teacher, student = _weights(masks["teacher"], stream), _weights(masks[mask], stream)
        teacher[-1] = teacher[-1].sign() / SIZES[-2] ** 0.5
        networks.append((teacher, student, masks[mask]))
    return Networks(*(stacked(part) for part in zip(*networks, strict=True)))


def _masks(stream: torch.Generator) -> Weights:
    """Hidden neurons read 4 inputs each, at random; the output reads all of its own."""
    hidden = [
        torch.zeros(after, before).scatter_(1, torch.rand(after, before, generator=stream).topk(S).indices, 1.0)
        for before, after in pairwise(SIZES[:3])
    ]
    return [*hidden, torch.ones(SIZES[3], SIZES[2])]


def _weights(masks: Weights, stream: torch.Generator) -> Weights:
    scales = [(2 / S) ** 0.5, (2 / S) ** 0.5, SIZES[2] ** -0.5]
    return [torch.randn(m.shape, generator=stream) * m * scale for m, scale in zip(masks, scales, strict=True)]


def _known_start(name: str, drawn: Networks) -> Weights:
    """A start from the teacher's signs or magnitudes, wherever teacher and student both have the weight."""
    if name == "drawn":
        return drawn.student
    start = []
    for index, (own, true) in enumerate(zip(drawn.student, drawn.teacher, strict=True)):
        mixed = torch.copysign(true, own) if name.startswith("right") else torch.copysign(own, true)
        layers = {"true bottom signs": (0,), "true top signs": (2,)}.get(name, (0, 1, 2))
        start.append(torch.where((own != 0) & (true != 0), mixed, own) if index in layers else own)
    return start


def _measures(begin: Weights, end: Weights, teacher: Weights, masks: Weights) -> dict[str, Array]:
    """Shares a layer and seed: of the active weights that flipped, and of those that have the teacher's sign."""
    found = flip_shares(begin, end, masks)
    for index, (last, true, mask) in enumerate(zip(end, teacher, masks, strict=True), start=1):
        both = ((true * mask) != 0).float()
        right = (last * true > 0).sum((-1, -2)) / both.sum((-1, -2)).clamp(min=1)
        found[f"signs right, layer {index}"] = right.double().numpy()
    return found
