"""`from_splits`: samples of one's own as a data set, with the inputs as they come."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.data.base import Batch, Data, chunks, epoch_order


@dataclass(frozen=True, eq=False)
class Splits(Data):
    """Samples on one device, neither normalised nor augmented. splits: (x, y) of "train" and of "test"."""

    splits: dict[str, Batch] = field(repr=False)

    @property
    def inputs(self) -> dict[str, int]:
        sizes = {"num_classes": self.num_classes}
        return sizes if len(self.shape) != 3 else {"in_channels": self.shape[0], "image_size": self.shape[1], **sizes}

    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        for index in chunks(epoch_order(self.n_train, epoch, seed, rank, world), batch_size):
            yield self._take("train", index)

    def _take(self, split: str, index: Tensor) -> Batch:
        x, y = self.splits[split]
        where = index.to(x.device)
        return x[where], y[where]


def from_splits(name: str, train: Batch, test: Batch, *, device: torch.device | str = "cpu") -> Splits:
    """A data set of the samples of two splits, with the inputs exactly as they are given.

    name: of the data set. train, test: (x, y) with inputs x (n, ...), alike in both splits, and labels y (n,) int64,
    numbers from 0 on; the number of classes is the largest label plus 1. device: where the samples are put.

    Raises:
        InputError: a split without samples, labels of another type or shape, or splits whose inputs differ in shape.
    """
    for split, (x, y) in (("train", train), ("test", test)):
        if y.dtype != torch.int64 or y.ndim != 1 or not len(y) or int(y.min()) < 0:
            refuse(f"{split}[1]", f"{y.dtype} {tuple(y.shape)}", "int64 (n,), labels from 0 on")
        if len(x) != len(y) or x.shape[1:] != train[0].shape[1:]:
            refuse(f"{split}[0]", tuple(x.shape), f"({len(y)}, ...), of the same shape in both splits")
    return Splits(
        name=name,
        classes=tuple(map(str, range(1 + max(int(y.max()) for _, y in (train, test))))),
        shape=tuple(train[0].shape[1:]),
        n_train=len(train[1]),
        n_test=len(test[1]),
        splits={"train": (train[0].to(device), train[1].to(device)), "test": (test[0].to(device), test[1].to(device))},
    )
