"""Images of any size, decoded by workers while the device trains: a random resized crop and a mirror image each.

Workers are threads, because decoders release the interpreter's lock. What a worker draws at random depends on the seed,
the epoch and the image alone.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sparse_training.data.base import Batch, Data, chunks, epoch_order
from sparse_training.data.decode import open_image, pixels
from sparse_training.data.image_folder import ImageFolder
from sparse_training.seeding import derive

# Channel statistics of ImageNet in [0, 1], as every published weight file of torchvision and timm assumes them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
TEST_CROP = 224 / 256  # the side of the central crop, relative to the shorter side
BATCHES_AHEAD = 2

Box = tuple[float, float, float, float]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Streamed(Data):
    """A data set read from its files in each epoch, normalised with ImageNet's channel statistics."""

    folder: ImageFolder = field(repr=False)
    augment: bool
    workers: int
    device: torch.device

    def train(self, epoch: int, batch_size: int, seed: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        order = epoch_order(self.n_train, epoch, seed, rank, world)
        stream = derive(seed, "augmentation", epoch)
        return self._batches(
            "train", order, batch_size, (lambda i: self._augmented(i, stream)) if self.augment else None
        )

    def test(self, batch_size: int) -> Iterator[Batch]:
        return self._batches("test", torch.arange(self.n_test), batch_size)

    def _take(self, split: str, index: Tensor) -> Batch:
        return next(self._batches(split, index, len(index)))

    def _batches(
        self, split: str, order: Tensor, batch_size: int, load: Callable[[int], Pixels] | None = None
    ) -> Iterator[Batch]:
        """Batches in order, with the images of the next ones under way."""
        load = load or (lambda i: self._central(split, i))
        pending: deque[tuple[Tensor, list[Future[Pixels]]]] = deque()
        pool = ThreadPoolExecutor(self.workers)
        try:
            for index in chunks(order, batch_size):
                pending.append((index, [pool.submit(load, i) for i in index.tolist()]))
                if len(pending) > BATCHES_AHEAD:
                    yield self._collect(split, *pending.popleft())
            while pending:
                yield self._collect(split, *pending.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self, split: str, index: Tensor, images: list[Future[Pixels]]) -> Batch:
        x = torch.from_numpy(np.stack([image.result() for image in images]))
        y = self.folder.splits[split].labels[index]
        if self.device.type == "cuda":
            x, y = x.pin_memory(), y.pin_memory()
        x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) * 255 for values in (MEAN, STD))
        return (x.float() - mean) / std, y

    def _augmented(self, index: int, stream: int) -> Pixels:
        image = open_image(self.folder.splits["train"].path(index))
        rng = np.random.default_rng((stream, index))
        box = random_box(image.height, image.width, rng)
        cropped = image.resize((self.shape[2], self.shape[1]), Image.Resampling.BILINEAR, box=box)
        return pixels(cropped.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else cropped)

    def _central(self, split: str, index: int) -> Pixels:
        image = open_image(self.folder.splits[split].path(index))
        box = central_box(image.height, image.width)
        return pixels(image.resize((self.shape[2], self.shape[1]), Image.Resampling.BILINEAR, box=box))


def random_box(height: int, width: int, rng: np.random.Generator) -> Box:
    """(left, top, right, bottom) of a crop of 8 to 100 % of the area and aspect 3/4 to 4/3 (Szegedy et al. 2015).

    Ten draws, as in torchvision; where none fits, the largest central crop of an allowed aspect.
    """
    for _ in range(10):
        area = height * width * rng.uniform(*AREA)
        aspect = math.exp(rng.uniform(math.log(ASPECT[0]), math.log(ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w = min(width, max(1, round(height * ASPECT[1])))
    h = min(height, max(1, round(width / ASPECT[0])))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def central_box(height: int, width: int) -> Box:
    """(left, top, right, bottom) of the central square whose side is 224/256 of the shorter side."""
    side = min(height, width) * TEST_CROP
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
