"""Rung 3: digits made hard, by networks so small and sparse that a random mask loses five points to dense training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from commons.checks import choice, number
from sparse_training import data as datasets
from sparse_training.masks import from_scores, make_masks
from sparse_training.problems.base import PLAIN, Arm, Problem, Runs, mean_speeds
from sparse_training.problems.matching import permutations, permuted
from sparse_training.problems.networks import (
    Weights,
    descend,
    flip_shares,
    layers_of,
    module_of,
    outputs,
    signs_of_one,
    stacked,
)
from sparse_training.problems.ways import PlainWay, SignInWay
from sparse_training.seeding import generator
from sparse_training.sign_init import GRADIENT, SIGN_INITS

PIXELS, CLASSES = 64, 10
CHUNK = 50  # steps whose batches are drawn at once
DENSE_RATE = 0.004  # of Adam, for the dense networks whose masks and signs others take
SCORES = ("snip", "probe", "fitting")
SLOW = ("swaps", "bottom-up")  # sign initializations that take longer than training here
Split = tuple[Tensor, Tensor]  # images (seeds, n, 64) and labels (seeds, n)


@dataclass(frozen=True)
class Origin:
    """Where an arm's start comes from. Magnitudes are drawn in all of them.

    mask: "random" (uniform within each layer, layers by ERK), a score, or the largest weights of a dense network after
    training: "dense" of the one from the same draw, "other" of one from another draw, and "matched" of that one with
    its neurons permuted until it lies closest to the first.   signs: "drawn", "dense" (of the network from the same
    draw), "own" (that the mask's weights have after training) or a sign initialization.
    """

    mask: str = "random"
    signs: str = "drawn"


ORIGINS = {
    "drawn": Origin(),
    "signs of dense": Origin(signs="dense"),
    "own signs after training": Origin(signs="own"),
    **{f"mask of {score}": Origin(mask=score) for score in SCORES},
    "mask of dense": Origin(mask="dense"),
    "mask of another dense": Origin(mask="other"),
    "mask of another dense, matched": Origin(mask="matched"),
    "mask of dense, its signs": Origin(mask="dense", signs="dense"),
    "mask of dense, own signs after training": Origin(mask="dense", signs="own"),
    **{f"sign_init {name}": Origin(signs=name) for name in SIGN_INITS},
    **{f"mask of dense, sign_init {name}": Origin(mask="dense", signs=name) for name in SIGN_INITS},
}


@dataclass(frozen=True)
class DigitsHard(Problem):
    """ReLU networks without biases on scikit-learn's 8x8 digits, each seed with a split of the 1,797 images of its own.

    density: share of all weights that the mask keeps.   width, depth: neurons of a hidden layer, and hidden layers.
    samples: training images; all others test.   optimizer: "adam", or "sgd" without momentum; the rate falls linearly
    to 0.   sign_samples: training images that a sign initialization or a score may look at.
    """

    name: ClassVar[str] = "digits-hard"
    quantity: ClassVar[str] = "test error"
    meaning: ClassVar[str] = "share of the test images that are told wrong at the end"
    default_seeds: ClassVar[int] = 64
    default_tuning_seeds: ClassVar[int] = 16
    effect: ClassVar[float] = 0.01
    truth: ClassVar[str] = "dense"

    optimizer: str = "adam"
    density: float = 0.1
    width: int = 32
    depth: int = 2
    samples: int = 1000
    steps: int = 1000
    batch: int = 32
    sign_samples: int = 400

    def __post_init__(self) -> None:
        choice("optimizer", self.optimizer, ("adam", "sgd"))
        number("density", self.density, above=0, at_most=1)
        number("decay", self.decay, at_least=0)
        for name in ("width", "depth", "samples", "steps", "batch", "sign_samples"):
            number(name, getattr(self, name), at_least=1, integer=True)
        number("samples", self.samples, at_most=1600)

    @property
    def rates(self) -> tuple[float, ...]:  # type: ignore[override]
        return (0.004, 0.008, 0.016) if self.optimizer == "adam" else (0.16, 0.32, 0.64)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons by layer, from the pixels to the classes."""
        return (PIXELS, *(self.width,) * self.depth, CLASSES)

    def arms(self) -> list[Arm]:
        layers = self.depth + 1
        layered = tuple(SignInWay(0.25 * 4 ** (index / self.depth)) for index in range(layers))
        return [
            Arm(PLAIN),
            Arm("dense", dense=True),
            Arm("output rate x4", (*(PlainWay(),) * self.depth, PlainWay(4.0))),
            Arm("Sign-In β = 1", (SignInWay(1.0),) * layers),
            Arm("Sign-In β = .25 to 1", layered),
            *(Arm(label, start=label, share=_share(origin)) for label, origin in ORIGINS.items() if label != "drawn"),
        ]

    def run(self, arm: Arm, seeds: Sequence[int], rates: Sequence[float], *, full: bool = False) -> Runs:
        train, test = _splits(tuple(seeds), self.samples)
        start, masks, cost = self._start(arm, tuple(seeds))
        begin = [w[:, None].expand(-1, len(rates), -1, -1).contiguous() for w in start]
        masks = [m[:, None] for m in masks]
        layers = layers_of(arm, begin, self.optimizer, self.decay)
        speeds = torch.zeros(len(layers), len(seeds), len(rates)) if full else None
        lr = torch.tensor(rates)[:, None, None]
        descend(layers, masks, lr, self._batches(seeds, train), self.steps, _loss, speeds)
        weights = [layer.theta for layer in layers]
        answers = outputs(weights, test[0][:, None])
        wrong = (answers.argmax(-1) != test[1][:, None]).double().mean(-1)
        diverged = ~answers.isfinite().all(-1).all(-1)
        measures = flip_shares(begin, weights, masks) if full else {}
        by_layer = () if speeds is None else mean_speeds(speeds / self.steps, diverged)
        return Runs(torch.where(diverged, 1.0, wrong).numpy(), diverged.numpy(), measures, by_layer, cost)

    def _batches(self, seeds: Sequence[int], train: Split) -> Iterator[Split]:
        """Images (seeds, 1, batch, 64) and labels (seeds, 1, batch), each seed's from its own stream."""
        images, labels = train
        streams = [generator(seed, "digits-hard", "batches") for seed in seeds]
        row = torch.arange(len(seeds))[:, None]
        for first in range(0, self.steps, CHUNK):
            shape = (min(CHUNK, self.steps - first), self.batch)
            drawn = [torch.randint(self.samples, shape, generator=stream) for stream in streams]
            for index in torch.stack(drawn, 1):
                yield images[row, index][:, None], labels[row, index][:, None]

    def _start(self, arm: Arm, seeds: tuple[int, ...]) -> tuple[Weights, Weights, float]:
        """Weights, masks, and what the choice of signs cost as a share of training."""
        drawn = _draw(seeds, self.sizes)
        if arm.dense:
            return drawn, [torch.ones_like(w) for w in drawn], 0.0
        origin = ORIGINS[arm.start]
        masks = self._masks(origin.mask, seeds, drawn)
        start = [_spread(w, mask) for w, mask in zip(drawn, masks, strict=True)]
        if origin.signs == "drawn":
            return start, masks, 0.0
        if origin.signs in SIGN_INITS:
            signs, passes = self._found(origin.signs, seeds, start, masks)
            cost = passes / (GRADIENT * self.steps * self.batch)
        else:
            signs, cost = (
                _dense_networks(self, seeds) if origin.signs == "dense" else self._trained(seeds, start, masks),
                0.0,
            )
        start = [torch.where(sign == 0, w, torch.copysign(w, sign)) for w, sign in zip(start, signs, strict=True)]
        return start, masks, cost

    def _masks(self, kind: str, seeds: tuple[int, ...], drawn: Weights) -> Weights:
        """(seeds, outputs, inputs) a layer, 1 where a weight is active."""
        (images, labels), _ = _splits(seeds, self.samples)
        large = self._trained_dense(kind, seeds)
        found = []
        for index, seed in enumerate(seeds):
            model, names = module_of([w[index] for w in drawn])
            if large:
                sizes = {name: w[index].abs() for name, w in zip(names, large, strict=True)}
                masks = from_scores(sizes, self.density, "global")
            else:
                batch = images[index, : self.sign_samples], labels[index, : self.sign_samples]
                distribution = "erk" if kind == "random" else "global"
                masks = make_masks(model, self.density, kind, distribution, batch, seed=seed)
            found.append([masks[name].float() for name in names])
        return stacked(found)

    def _found(self, method: str, seeds: Sequence[int], start: Weights, masks: Weights) -> tuple[Weights, float]:
        """Signs by a sign initialization, and the mean of its forward passes."""
        (images, labels), _ = _splits(tuple(seeds), self.samples)
        found = []
        for index, seed in enumerate(seeds):
            batch = images[index, : self.sign_samples], labels[index, : self.sign_samples]
            own, support = ([part[index] for part in parts] for parts in (start, masks))
            found.append(signs_of_one(own, support, method, batch, cross_entropy, seed))
        return stacked([signs for signs, _ in found]), sum(passes for _, passes in found) / len(found)

    def _trained(self, seeds: tuple[int, ...], start: Weights, masks: Weights) -> Weights:
        """The weights after training with Adam."""
        train, _ = _splits(seeds, self.samples)
        layers = layers_of(Arm(PLAIN), [w[:, None] for w in start], "adam", 0.0)
        rate = torch.full((1, 1, 1), DENSE_RATE)
        descend(layers, [m[:, None] for m in masks], rate, self._batches(seeds, train), self.steps, _loss)
        return [layer.theta[:, 0] for layer in layers]

    def _trained_dense(self, kind: str, seeds: tuple[int, ...]) -> Weights:
        """The dense networks after training from which a kind of mask comes; empty for other kinds."""
        if kind not in ("dense", "other", "matched"):
            return []
        if kind == "dense":
            return _dense_networks(self, seeds)
        own, other = _dense_networks(self, seeds), _dense_networks(self, seeds, "other start")
        if kind == "other":
            return other
        pairs = [([w[i] for w in own], [w[i] for w in other]) for i in range(len(seeds))]
        return stacked([permuted(second, permutations(first, second)) for first, second in pairs])


@cache
def _dense_networks(problem: DigitsHard, seeds: tuple[int, ...], draw: str = "start") -> Weights:
    """Dense networks after training, from a draw of this name."""
    drawn = _draw(seeds, problem.sizes, draw)
    return problem._trained(seeds, drawn, [torch.ones_like(w) for w in drawn])


@cache
def _splits(seeds: tuple[int, ...], samples: int) -> tuple[Split, Split]:
    """Training and test images of each seed: a permutation of all 1,797, normalised as the data set is."""
    data = datasets.load("digits", augment=False)
    parts = [data.samples(split) for split in ("train", "test")]
    images, labels = torch.cat([x.flatten(1) for x, _ in parts]), torch.cat([y for _, y in parts])
    orders = [torch.randperm(len(labels), generator=generator(seed, "digits-hard", "split")) for seed in seeds]
    order = torch.stack(orders)
    first, rest = order[:, :samples], order[:, samples:]
    return (images[first], labels[first]), (images[rest], labels[rest])


def _draw(seeds: tuple[int, ...], sizes: Sequence[int], name: str = "start") -> Weights:
    """Dense weights N(0, 2/inputs), each network from its seed and the name of the draw alone."""
    networks = []
    for seed in seeds:
        stream = generator(seed, "digits-hard", name)
        networks.append([torch.randn(o, i, generator=stream) * (2 / i) ** 0.5 for i, o in pairwise(sizes)])
    return stacked(networks)


def _spread(weight: Tensor, mask: Tensor) -> Tensor:
    """Masked weights, enlarged so that a layer gives as much as a dense one: by 1/√density of each network's layer."""
    density = mask.mean((-1, -2), keepdim=True)
    return weight * mask / density.clamp(min=1 / mask[0].numel()).sqrt()


def _loss(weights: Weights, batch: Split) -> Tensor:
    """The sum over networks of their mean cross-entropy."""
    answers = outputs(weights, batch[0])
    labels = batch[1].expand(answers.shape[:-1])
    return cross_entropy(answers.flatten(0, -2), labels.flatten(), reduction="sum") / answers.shape[-2]


def _share(origin: Origin) -> float:
    return 0.25 if origin.signs in SLOW else 1.0
