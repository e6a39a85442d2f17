"""What a folder holds: which data set, how many images, and whether the files are the official ones.

Labels and headers are read; images are only decoded on request.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from commons.checks import InputError, refuse
from sparse_training.data import cifar
from sparse_training.data.image_folder import ImageFolder, check_all, first_size, scan, unpack_hint


@dataclass(frozen=True)
class Found:
    """A data set that `load(name, root)` can load. per_class: fewest and most training images of a class."""

    name: str
    format: str
    classes: tuple[str, ...]
    n_train: int
    n_test: int
    per_class: tuple[int, int]
    image: str

    def lines(self) -> list[str]:
        """The description, a line a fact."""
        few, many = self.per_class
        shown = ", ".join(self.classes[:10]) + (", ..." if len(self.classes) > 10 else "")
        return [
            f"data set  {self.name}: {self.format}",
            f"train     {self.n_train:,} images, {few:,}{f' to {many:,}' if many != few else ''} a class",
            f"test      {self.n_test:,} images",
            f"images    {self.image}",
            f"classes   {len(self.classes):,}: {shown}",
        ]


def look(root: str | Path) -> Found:
    """Find out what root holds.

    Raises:
        InputError: root is no folder, holds nothing known, or what it holds is incomplete or corrupt.
    """
    path = Path(root)
    if not path.is_dir():
        refuse("dir", str(root), "an existing folder")
    for edition in cifar.EDITIONS.values():
        place = cifar.find(edition, path)
        if place is not None:
            return _found_cifar(place)
    folder = scan(path)
    if folder is None:
        known = "binary files or python pickles of CIFAR, images as train/CLASS/ and test/CLASS/, or text with --text"
        raise InputError(f"{str(root)!r} holds no data set: expected {known}{unpack_hint(path)}")
    return _found_folder(folder)


def bad_images(root: str | Path, advance: Callable[[int, int], object]) -> list[str]:
    """Decode every image of an image folder; the faults, a line each. advance(done, total) is called after each."""
    folder = scan(Path(root))
    if folder is None:
        return []
    total = sum(len(split.files) for split in folder.splits.values())
    faults = []
    for done, fault in enumerate(check_all(folder), start=1):
        faults += [fault] if fault else []
        advance(done, total)
    return faults


def _found_cifar(place: cifar.Place) -> Found:
    read = cifar.read(place)
    checked = {
        "pickle": "the official files, checksums agree" if read.official else "not the official files",
        "binary": "lengths and labels are valid; no checksums are published",
    }[place.format]
    kind = {"pickle": "python pickles", "binary": "binary files"}[place.format]
    labels = torch.bincount(read.train.labels, minlength=len(read.classes))
    return Found(
        name=place.edition.name,
        format=f"{kind} in {str(place.folder)!r}; {checked}",
        classes=read.classes,
        n_train=len(read.train.labels),
        n_test=len(read.test.labels),
        per_class=(int(labels.min()), int(labels.max())),
        image=f"{cifar.SIDE}×{cifar.SIDE}",
    )


def _found_folder(folder: ImageFolder) -> Found:
    height, width = first_size(folder)
    train, test = folder.splits["train"], folder.splits["test"]
    labels = torch.bincount(train.labels, minlength=len(folder.classes))
    return Found(
        name=_name(folder, (height, width)),
        format=f"image files in {str(train.folder)!r} and {str(test.folder)!r}",
        classes=folder.classes,
        n_train=len(train.files),
        n_test=len(test.files),
        per_class=(int(labels.min()), int(labels.max())),
        image=f"{height}×{width} (the first)",
    )


def _name(folder: ImageFolder, side: tuple[int, int]) -> str:
    small = side == (cifar.SIDE, cifar.SIDE)
    if small and folder.classes == cifar.CIFAR10.classes:
        return "cifar10"
    if small and len(folder.classes) == cifar.CIFAR100.num_classes:
        return "cifar100"
    return "imagenet" if len(folder.classes) == 1000 and not small else "folder"
