"""`Data`: what every data set offers, and the order of an epoch, which comes from (seed, epoch) alone."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from commons.checks import choice, number, refuse
from sparse_training.seeding import generator

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Data(ABC):
    """Images of the given shape (C, H, W) with integer labels, or crops (T,) of text, split into train and test.

    name: of the data set. classes: a name for each label. n_train, n_test: images or crops of each split. Batches are
    (x, y): of images x (B, C, H, W) float32, normalised channel by channel, and y (B,) int64; of text as `text.Text`
    says.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    n_train: int
    n_test: int

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def inputs(self) -> dict[str, int]:
        """The sizes that `models.build` needs for a network on this data."""
        return {"in_channels": self.shape[0], "image_size": self.shape[1], "num_classes": self.num_classes}

    @property
    def targets(self) -> int:
        """How many labels each sample has: 1, and for text one a token."""
        return 1

    @property
    def record(self) -> dict[str, Any]:
        """What a run keeps of the data beside its configuration, as JSON values; nothing by default."""
        return {}

    def metrics(self, loss: float) -> dict[str, float]:
        """What a test loss in nats a label means in units of the data, by name; nothing by default."""
        return {}

    @abstractmethod
    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Augmented batches of `batch_size` samples of one epoch, on the device, the same for the same (seed, epoch).

        Process `rank` of `world` takes every world-th sample of the epoch's order. The last batch may be smaller; with
        world > 1 the last n_train mod world images are left out, so that all processes make equally many steps.
        """

    def test(self, batch_size: int) -> Iterator[Batch]:
        """The test set in its own order, not augmented; the last batch may be smaller."""
        for index in chunks(torch.arange(self.n_test), batch_size):
            yield self._take("test", index)

    @abstractmethod
    def _take(self, split: str, index: Tensor) -> Batch:
        """Samples of a split by index (n,) int64 on the CPU, not augmented."""

    def samples(self, split: str, n: int | None = None, seed: int = 0) -> Batch:
        """n samples of "train" or "test", not augmented, drawn without replacement by the seed; None: all, in order.

        Raises:
            InputError: another split, or n not in [1, size of the split].
        """
        size = {"train": self.n_train, "test": self.n_test}[choice("split", split, ("train", "test"))]
        if n is None:
            return self._take(split, torch.arange(size))
        number("n", n, at_least=1, at_most=size, integer=True)
        return self._take(split, torch.randperm(size, generator=generator(seed, "samples"))[:n])


def epoch_order(n: int, epoch: int, seed: int, rank: int, world: int) -> Tensor:
    """Indices (n // world,) int64 that process `rank` sees in an epoch, in order.

    Raises:
        InputError: epoch below 0, rank not in [0, world), or fewer samples than processes.
    """
    number("epoch", epoch, at_least=0, integer=True)
    number("world", world, at_least=1, integer=True)
    number("rank", rank, at_least=0, below=world, integer=True)
    if n < world:
        refuse("world", world, f"at most the number of training samples, {n}")
    order = torch.randperm(n, generator=generator(seed, "order", epoch))
    return order[: n - n % world][rank::world]


def chunks(tensor: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """The tensor in pieces of batch_size along its first axis; InputError where that is below 1."""
    number("batch_size", batch_size, at_least=1, integer=True)
    return torch.split(tensor, batch_size)
