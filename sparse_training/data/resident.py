"""Small images that live on the device as uint8 and are cropped, flipped and normalised there, a batch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from commons.checks import refuse
from sparse_training.data.base import Batch, Data, chunks, epoch_order
from sparse_training.seeding import generator

BATCHES_AT_ONCE = {"cuda": 16}  # that are cropped and normalised together, where each operator costs its launch


@dataclass(frozen=True, eq=False)
class Images:
    """Images: their pixels (n, C, H, W) uint8 and their labels (n,) int64."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Images":
        """The same on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Augmentation:
    """Zero padding by `pad` pixels with a random crop back to size.

    With `flip`, a mirror image in half of the cases.
    """

    pad: int
    flip: bool


@dataclass(frozen=True, eq=False)
class Resident(Data):
    """A data set held on the device; `augmentation` None leaves training images as they are."""

    images: dict[str, Images] = field(repr=False)
    augmentation: Augmentation | None
    mean: Tensor = field(repr=False)
    std: Tensor = field(repr=False)

    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        images, device = self.images["train"], self.mean.device
        order = epoch_order(self.n_train, epoch, seed, rank, world)
        moves, many = self._moves(epoch, seed)[order].to(device), batch_size * BATCHES_AT_ONCE.get(device.type, 1)
        for where, move in zip(chunks(order.to(device), many), chunks(moves, many), strict=True):
            pixels = images.pixels[where]
            if self.augmentation is not None:
                pixels = crop_and_flip(pixels, move, self.augmentation.pad)
            x, y = self._normalised(pixels), images.labels[where]
            yield from zip(chunks(x, batch_size), chunks(y, batch_size), strict=True)

    def _take(self, split: str, index: Tensor) -> Batch:
        images, where = self.images[split], index.to(self.mean.device)
        return self._normalised(images.pixels[where]), images.labels[where]

    def _moves(self, epoch: int, seed: int) -> Tensor:
        """(n, 3) int64 for the images of the training set: row and column of the crop, and 1 for a mirror image."""
        pad, flip = (self.augmentation.pad, self.augmentation.flip) if self.augmentation else (0, False)
        limits = torch.tensor([2 * pad + 1, 2 * pad + 1, 1 + flip])
        draws = torch.rand((self.n_train, 3), generator=generator(seed, "augmentation", epoch), dtype=torch.float64)
        return (draws * limits).long()

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (pixels.float() - self.mean) / self.std


def from_tensors(
    name: str,
    classes: tuple[str, ...],
    train: Images,
    test: Images,
    augmentation: Augmentation | None = None,
    device: torch.device | str = "cpu",
) -> Resident:
    """A data set of two splits, put on the device, with each channel's mean and deviation over the training set.

    name: of the data set. classes: a name for each label. train, test: the splits. augmentation None leaves training
    images as they are.

    Raises:
        InputError: the splits differ in the shape of their images, or hold others than (n, C, H, W) uint8 with labels
            (n,) int64 in [0, number of classes).
    """
    for split, images in (("train", train), ("test", test)):
        _check(split, images, len(classes), train.pixels.shape[1:])
    mean, std = channel_statistics(train.pixels)
    _, *shape = train.pixels.shape
    return Resident(
        name=name,
        classes=classes,
        shape=(shape[0], shape[1], shape[2]),
        n_train=len(train.labels),
        n_test=len(test.labels),
        images={"train": train.to(device), "test": test.to(device)},
        augmentation=augmentation,
        mean=mean.float().view(-1, 1, 1).to(device),
        std=std.float().view(-1, 1, 1).to(device),
    )


def _check(split: str, images: Images, classes: int, shape: torch.Size) -> None:
    pixels, labels = images.pixels, images.labels
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1:] != shape or not len(pixels):
        refuse(f"{split}.pixels", f"{pixels.dtype} {tuple(pixels.shape)}", "uint8 (n, C, H, W), alike in both splits")
    if labels.dtype != torch.int64 or labels.shape != pixels.shape[:1]:
        refuse(f"{split}.labels", f"{labels.dtype} {tuple(labels.shape)}", f"int64 ({len(pixels)},)")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        refuse(f"{split}.labels", [int(labels.min()), int(labels.max())], f"in [0, {classes}), one number a class")


def channel_statistics(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) float64 of (n, C, H, W) uint8, from exact integer sums; a constant has std 1."""
    sums = torch.zeros(2, pixels.shape[1], dtype=torch.float64, device=pixels.device)
    for part in torch.split(pixels, 4096):
        x = part.double()
        sums += torch.stack((x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))))
    mean, square = sums / (pixels.numel() / pixels.shape[1])
    variance = square - mean**2
    return mean, torch.where(variance > 0, variance, 1.0).sqrt()


def crop_and_flip(pixels: Tensor, moves: Tensor, pad: int) -> Tensor:
    """Crop each image (B, C, H, W) uint8 out of its zero-padded self at moves[:, :2], mirrored where moves[:, 2]."""
    B, C, H, W = pixels.shape
    padded = torch.nn.functional.pad(pixels, (pad, pad, pad, pad))
    device = pixels.device
    rows = moves[:, :1] + torch.arange(H, device=device)  # (B, H)
    columns = torch.arange(W, device=device).expand(B, W)
    columns = moves[:, 1:2] + torch.where(moves[:, 2:] == 1, columns.flip(1), columns)  # (B, W)
    images, channels = torch.arange(B, device=device).view(B, 1, 1, 1), torch.arange(C, device=device).view(1, C, 1, 1)
    return padded[images, channels, rows[:, None, :, None], columns[:, None, None, :]]
