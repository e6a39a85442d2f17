"""CIFAR-10 at 16×16: every 2×2 pixels averaged, decoded once, in a file that processes share by mapping it."""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from commons.checks import InputError
from commons.files import output_directory
from sparse_training.data.cache import cache_file
from sparse_training.data.resident import Images
from sparse_training.tensor_files import DIGEST, read_tensors, write_tensors

SPLITS = ("train", "test")
Splits = tuple[tuple[str, ...], Images, Images]


def halved(root: Path, read: Callable[[Path], Splits]) -> Splits:
    """Class names, training and test images of `read(root)` at half their size, from the cache where it has them.

    The cache is found by the names, sizes and times of change of the files below root, so that nothing is decoded twice
    and each process maps the same pages.
    """
    cache = cache_file(f"halved-{_listing(root)}")
    with suppress(InputError, KeyError):  # none, or a damaged one
        tensors, metadata = read_tensors(cache)
        if DIGEST in metadata:
            train, test = (Images(tensors[f"{name}.pixels"], tensors[f"{name}.labels"]) for name in SPLITS)
            return tuple(json.loads(metadata["classes"])), train, test
    classes, *splits = read(root)
    train, test = (Images(box_average(images.pixels), images.labels) for images in splits)
    tensors = {"train.pixels": train.pixels, "train.labels": train.labels}
    tensors |= {"test.pixels": test.pixels, "test.labels": test.labels}
    with suppress(InputError, OSError):  # not writable, or no room: the images are decoded again next time
        write_tensors(output_directory("cache", cache.parent) / cache.name, tensors, {"classes": json.dumps(classes)})
    return classes, train, test


def box_average(pixels: Tensor) -> Tensor:
    """(n, C, 2h, 2w) uint8 -> (n, C, h, w) uint8, the mean of each 2×2 pixels, a half rounded up."""
    n, channels, height, width = pixels.shape
    boxes = pixels.to(torch.int16).view(n, channels, height // 2, 2, width // 2, 2)
    return ((boxes.sum((3, 5)) + 2) // 4).to(torch.uint8)


def _listing(root: Path) -> str:
    """A digest of every file below root: name, size, time of change."""
    digest = hashlib.sha256()
    for folder, folders, _ in os.walk(root):
        folders.sort()
        digest.update(f"\0{os.path.relpath(folder, root)}".encode())
        with os.scandir(folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries if entry.is_file()}
        for name in sorted(stats):
            digest.update(f"\0{name}\0{stats[name].st_size}\0{stats[name].st_mtime_ns}".encode())
    return digest.hexdigest()[:32]
