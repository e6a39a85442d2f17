"""`load`: a data set by name, from a folder where it has files."""

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from commons.checks import InputError, number, refuse
from commons.registry import Registry, accepted
from sparse_training.data import cifar
from sparse_training.data.averaged import halved
from sparse_training.data.base import Data
from sparse_training.data.digits import digits
from sparse_training.data.image_folder import ImageFolder, decode_all, first_size, scan, unpack_hint
from sparse_training.data.resident import Augmentation, Images, from_tensors
from sparse_training.data.stream import Streamed
from sparse_training.data.text import python_text, text

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
    context: int | None = None,
    crops: int | None = None,
    test_crops: int | None = None,
    tokenizer: str | None = None,
) -> Data:
    """Load a data set: a name in `DATASETS`, or "package.module:callable".

    root: the folder of its files, or for text a file; digits and python-text have none. device: where batches are made.
    augment: crops and mirror images in training (digits has none). image_size: the side of the crops for folder and
    imagenet, 224 for None where the first image is larger than 64 pixels; other sets have their own. workers: threads
    that decode, 0: one a core. context, crops, test_crops, tokenizer: of text, as in `text.from_corpus`; python-text is
    always read as bytes. Of these arguments a callable of the user's own gets those that its signature names; it
    returns a `Data`.

    digits, CIFAR (also at 16×16) and folders of equal images up to 64 pixels live on the device as uint8, and are
    padded by an eighth, cropped, flipped and normalised there. Other folders are read by workers, with a random resized
    crop and a flip in training and the central crop in testing.

    Raises:
        InputError: unknown name, missing or incomplete files, a corrupt file, or the wrong number of classes.
    """
    factory = DATASETS.find("data", name)
    if image_size is not None:
        number("image_size", image_size, at_least=1, integer=True)
    number("workers", workers, at_least=0, integer=True)
    settings: dict[str, Any] = {"device": device, "augment": augment, "image_size": image_size, "workers": workers}
    settings["root"] = None if root is None else Path(root)
    of_text = {"context": context, "crops": crops, "test_crops": test_crops, "tokenizer": tokenizer}
    arguments = accepted(factory, settings | of_text)
    for key, value in of_text.items():
        if value is not None and key not in arguments:
            refuse(key, value, f"left out, as data={name!r} takes none")
    _check_root(name, root, inspect.signature(factory).parameters.get("root") if "root" in arguments else None)
    data = factory(**arguments)
    if not isinstance(data, Data):
        refuse("data", name, "a callable that returns a data.Data", f"it returned {type(data).__name__}")
    if "image_size" not in arguments and image_size not in (None, data.inputs.get("image_size")):
        size = data.inputs.get("image_size")
        refuse(
            "image_size",
            image_size,
            f"{size}, the size of {data.name}" if size else f"left out, as {data.name} is text",
        )
    return data


def _check_root(name: str, root: str | Path | None, parameter: inspect.Parameter | None) -> None:
    """Refuse a folder for a data set that has no files, and no folder for one that must have it."""
    if parameter is None:
        if root:
            hint = f"data.name={root} names a callable" if ":" in str(root) else "name the data set that is there"
            refuse("root", str(root), f"empty, as data={name!r} has no files", hint)
    elif root is not None:
        if not (Path(root).exists() if name == "text" else Path(root).is_dir()):
            refuse("root", str(root), "an existing file or folder" if name == "text" else "an existing folder")
    elif parameter.default is parameter.empty:
        refuse("root", None, f"a folder, which data={name!r} needs")


def _cifar(name: str, *, root: Path, device: torch.device | str, augment: bool) -> Data:
    augmentation = Augmentation(pad=4, flip=True) if augment else None
    return from_tensors(name, *_cifar_images(name, root), augmentation, device)


def _cifar10_16(*, root: Path, device: torch.device | str, augment: bool) -> Data:
    augmentation = Augmentation(pad=2, flip=True) if augment else None
    splits = halved(root, partial(_cifar_images, "cifar10"))
    return from_tensors("cifar10-16", *splits, augmentation, device)


def _cifar_images(name: str, root: Path) -> tuple[tuple[str, ...], Images, Images]:
    """Class names, training and test images, from the distributed files or from a folder of images."""
    edition = cifar.EDITIONS[name]
    place = cifar.find(edition, root)
    if place is not None:
        read = cifar.read(place)
        return read.classes, read.train, read.test
    folder = _scanned(name, root)
    if len(folder.classes) != edition.num_classes:
        raise InputError(f"{name} has {edition.num_classes} classes, but {str(root)!r} has {len(folder.classes)}")
    return folder.classes, *decode_all(folder, (cifar.SIDE, cifar.SIDE))


def _folder(*, root: Path, device: torch.device | str, augment: bool, image_size: int | None, workers: int) -> Data:
    """Any images: small ones of equal size live on the device, others are read by workers."""
    folder = _scanned("folder", root)
    side = first_size(folder)
    if image_size is None and max(side) <= LARGEST_RESIDENT:
        train, test = decode_all(folder, side)
        augmentation = Augmentation(pad=max(side) // 8, flip=True) if augment else None
        return from_tensors("folder", folder.classes, train, test, augmentation, device)
    return _streamed("folder", folder, device, augment, image_size, workers)


def _imagenet(*, root: Path, device: torch.device | str, augment: bool, image_size: int | None, workers: int) -> Data:
    folder = _scanned("imagenet", root)
    if len(folder.classes) != IMAGENET_CLASSES:
        hint = "a part of it, or another set, is data='folder'"
        raise InputError(f"imagenet has 1,000 classes, but {str(root)!r} has {len(folder.classes)}; {hint}")
    return _streamed("imagenet", folder, device, augment, image_size, workers)


def _streamed(
    name: str, folder: ImageFolder, device: torch.device | str, augment: bool, image_size: int | None, workers: int
) -> Streamed:
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
        device=torch.device(device),
    )


def _scanned(name: str, root: Path) -> ImageFolder:
    folder = scan(root)
    if folder is None:
        files = "binary files, python pickles or " if name in cifar.EDITIONS else ""
        raise InputError(
            f"{str(root)!r} has no {name}: expected {files}images as train/CLASS/ and test/CLASS/{unpack_hint(root)}"
        )
    return folder


DATASETS: Registry[Callable[..., Data]] = Registry(
    "a callable that returns a data.Data",
    {
        "digits": digits,
        **{name: partial(_cifar, name) for name in cifar.EDITIONS},
        "cifar10-16": _cifar10_16,
        "folder": _folder,
        "imagenet": _imagenet,
        "python-text": python_text,
        "text": text,
    },
    accept=lambda part: part if callable(part) else None,
)
