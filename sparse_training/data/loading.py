"""`load`: a data set by name, from a folder where it has files.

It never guesses which data set is meant and never downloads one.
"""

import os
from pathlib import Path

import torch

from commons.checks import InputError, choice, number, refuse
from sparse_training.data import cifar
from sparse_training.data.base import Data
from sparse_training.data.digits import digits
from sparse_training.data.image_folder import ImageFolder, decode_all, first_size, scan, unpack_hint
from sparse_training.data.resident import Augmentation, resident
from sparse_training.data.stream import Streamed

DATASETS = ("digits", "cifar10", "cifar100", "folder", "imagenet")
IMAGENET_CLASSES = 1000
IMAGENET_SIZE = 224
LARGEST_RESIDENT = 64  # pixels a side


def load(
    name: str,
    root: str | Path | None = None,
    *,
    device: torch.device | str = "cpu",
    augment: bool = True,
    image_size: int | None = None,
    workers: int = 0,
) -> Data:
    """Load a data set of `DATASETS`.

    root: the folder of its files; only digits has none. device: where batches are made. augment: crops and mirror
    images in training (digits has none). image_size: the side of the crops for folder and imagenet, 224 for None where
    the first image is larger than 64 pixels; other sets have their own. workers: threads that decode, 0: one a core.

    digits, CIFAR and folders of equal images up to 64 pixels live on the device as uint8, and are padded by an eighth
    (CIFAR: 4 pixels), cropped, flipped and normalised there. Other folders are read by workers, with a random resized
    crop and a flip in training and the central crop in testing.

    Raises:
        InputError: unknown name, missing or incomplete files, a corrupt file, or the wrong number of classes.
    """
    choice("data", name, DATASETS)
    if image_size is not None:
        number("image_size", image_size, at_least=1, integer=True)
    number("workers", workers, at_least=0, integer=True)
    if name == "digits":
        if root:
            refuse("root", str(root), "empty, as data='digits' has no files", "name the data set that is there")
        return _of_size(digits(device), image_size)
    if root is None:
        refuse("root", None, f"a folder, which data={name!r} needs")
    path = Path(root)
    if not path.is_dir():
        refuse("root", str(root), "an existing folder")
    if name in cifar.EDITIONS:
        return _of_size(_cifar(name, path, device, augment), image_size)
    return _folder(name, path, torch.device(device), augment, image_size, workers)


def _cifar(name: str, root: Path, device: torch.device | str, augment: bool) -> Data:
    edition = cifar.EDITIONS[name]
    augmentation = Augmentation(pad=4, flip=True) if augment else None
    place = cifar.find(edition, root)
    if place is not None:
        source = cifar.read(place)
        return resident(name, source.classes, source.train, source.test, augmentation, device)
    folder = _scanned(name, root)
    if len(folder.classes) != edition.num_classes:
        raise InputError(f"{name} has {edition.num_classes} classes, but {str(root)!r} has {len(folder.classes)}")
    train, test = decode_all(folder, (cifar.SIDE, cifar.SIDE))
    return resident(name, folder.classes, train, test, augmentation, device)


def _folder(name: str, root: Path, device: torch.device, augment: bool, image_size: int | None, workers: int) -> Data:
    folder = _scanned(name, root)
    if name == "imagenet" and len(folder.classes) != IMAGENET_CLASSES:
        hint = "a part of it, or another set, is data='folder'"
        raise InputError(f"imagenet has 1,000 classes, but {str(root)!r} has {len(folder.classes)}; {hint}")
    side = first_size(folder)
    if name == "folder" and image_size is None and max(side) <= LARGEST_RESIDENT:
        train, test = decode_all(folder, side)
        augmentation = Augmentation(pad=max(side) // 8, flip=True) if augment else None
        return resident(name, folder.classes, train, test, augmentation, device)
    size = image_size or IMAGENET_SIZE
    return Streamed(
        name=name,
        classes=folder.classes,
        shape=(3, size, size),
        n_train=len(folder.splits["train"].files),
        n_test=len(folder.splits["test"].files),
        folder=folder,
        augment=augment,
        workers=workers or os.cpu_count() or 1,
        device=device,
    )


def _scanned(name: str, root: Path) -> ImageFolder:
    folder = scan(root)
    if folder is None:
        files = "binary files, python pickles or " if name in cifar.EDITIONS else ""
        raise InputError(
            f"{str(root)!r} has no {name}: expected {files}images as train/CLASS/ and test/CLASS/{unpack_hint(root)}"
        )
    return folder


def _of_size(data: Data, image_size: int | None) -> Data:
    if image_size not in (None, data.shape[1]):
        refuse("image_size", image_size, f"{data.shape[1]}, the size of {data.name}")
    return data
