"""CIFAR-10 and CIFAR-100 as distributed, from the binary files or the python pickles, checked before use.

CIFAR as a folder of images is read by image_folder.py; nothing is downloaded or unpacked.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from commons.checks import InputError
from commons.files import read_bytes
from sparse_training.data.pickles import read_pickle
from sparse_training.data.resident import Images

SIDE = 32
PIXELS = 3 * SIDE**2


@dataclass(frozen=True)
class Edition:
    """How one of the two data sets is laid out. md5: of the official pickles, as torchvision checks them too."""

    name: str
    num_classes: int
    folders: dict[str, str]
    train: tuple[str, ...]
    test: str
    official_counts: tuple[int, int]
    label_key: str
    label_bytes: int
    names_file: dict[str, str]
    names_key: str
    md5: dict[str, str]
    classes: tuple[str, ...]


CIFAR10 = Edition(
    name="cifar10",
    num_classes=10,
    folders={"binary": "cifar-10-batches-bin", "pickle": "cifar-10-batches-py"},
    train=tuple(f"data_batch_{index}" for index in range(1, 6)),
    test="test_batch",
    official_counts=(10_000, 10_000),
    label_key="labels",
    label_bytes=1,
    names_file={"binary": "batches.meta.txt", "pickle": "batches.meta"},
    names_key="label_names",
    md5={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
CIFAR100 = Edition(
    name="cifar100",
    num_classes=100,
    folders={"binary": "cifar-100-binary", "pickle": "cifar-100-python"},
    train=("train",),
    test="test",
    official_counts=(50_000, 10_000),
    label_key="fine_labels",
    label_bytes=2,  # coarse, fine
    names_file={"binary": "fine_label_names.txt", "pickle": "meta"},
    names_key="fine_label_names",
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    classes=tuple(str(index) for index in range(100)),
)
EDITIONS = {edition.name: edition for edition in (CIFAR10, CIFAR100)}
SUFFIX = {"binary": ".bin", "pickle": ""}


@dataclass(frozen=True)
class Place:
    """Files of an edition found in a folder, as "binary" or "pickle"."""

    edition: Edition
    format: str
    folder: Path

    def file(self, name: str) -> Path:
        """The path of one of the edition's files."""
        return self.folder / (name + SUFFIX[self.format])


@dataclass(frozen=True)
class Contents:
    """What was read: both splits, the class names, and whether all files are the official ones, where that is known."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    official: bool


def find(edition: Edition, root: Path) -> Place | None:
    """The edition's files in root or in the folder of the official archive below it; None where there are none.

    Raises:
        InputError: some of the files are there and others are not.
    """
    names = (*edition.train, edition.test)
    for format, folder_name in edition.folders.items():
        for folder in (root, root / folder_name):
            place = Place(edition, format, folder)
            missing = [place.file(name).name for name in names if not place.file(name).is_file()]
            if not missing:
                return place
            if len(missing) < len(names):
                raise InputError(f"{edition.name} in {str(folder)!r} lacks {', '.join(missing)}")
    return None


def read(place: Place) -> Contents:
    """Read and check all files of a place.

    Raises:
        InputError: a file is truncated or corrupt, fails its checksum, or holds labels out of range.
    """
    edition = place.edition
    count, test_count = edition.official_counts
    train = [_read_file(place, name, count) for name in edition.train]
    test = _read_file(place, edition.test, test_count)
    official = place.format == "pickle" and all(known for _, _, known in (*train, test))
    return Contents(_images([part[:2] for part in train]), _images([test[:2]]), _class_names(place), official)


Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _images(parts: Sequence[Part]) -> Images:
    pixels = np.concatenate([part[0] for part in parts]).reshape(-1, 3, SIDE, SIDE)
    return Images(torch.from_numpy(pixels), torch.from_numpy(np.concatenate([part[1] for part in parts])))


def _read_file(place: Place, name: str, official_count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    """Pixels (n, 3072), labels (n,), and whether the file has the official checksum."""
    path = place.file(name)
    content = read_bytes(path)
    official = hashlib.md5(content, usedforsecurity=False).hexdigest() == place.edition.md5[name]
    pixels, labels = _parse_binary(place, path, content) if place.format == "binary" else _parse_pickle(place, path)
    if place.format == "pickle" and len(labels) == official_count and not official:
        raise InputError(f"{str(path)!r} is corrupt: it is as long as the official file but fails its MD5 checksum")
    if not len(labels):
        raise InputError(f"{str(path)!r} holds no image")
    wrong = np.flatnonzero((labels < 0) | (labels >= place.edition.num_classes))
    if len(wrong):
        top = place.edition.num_classes - 1
        raise InputError(f"{str(path)!r} is corrupt: label {labels[wrong[0]]} of image {wrong[0]} is not in [0, {top}]")
    return pixels, labels, official


def _parse_binary(place: Place, path: Path, content: bytes) -> Part:
    head = place.edition.label_bytes
    record = head + PIXELS
    if len(content) % record:
        raise InputError(f"{str(path)!r} is truncated: {len(content):,} bytes are no multiple of {record:,} an image")
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, head:], records[:, head - 1].astype(np.int64)


def _parse_pickle(place: Place, path: Path) -> Part:
    value = read_pickle(path)
    pixels, labels = value.get("data"), value.get(place.edition.label_key)
    key = place.edition.label_key
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (PIXELS,) or not isinstance(labels, list):
        raise InputError(f"{str(path)!r} has no 'data' of {PIXELS} bytes an image with a list of {key!r}")
    if len(labels) != len(pixels):
        raise InputError(f"{str(path)!r} has {len(pixels):,} images but {len(labels):,} {key}")
    if not all(isinstance(label, int) and abs(label) < 2**31 for label in labels):
        raise InputError(f"{str(path)!r} is corrupt: its labels are not all small integers")
    return pixels, np.array(labels, np.int64)


def _class_names(place: Place) -> tuple[str, ...]:
    """The names in the file of names, or the edition's own where that file is absent or holds another number."""
    path = place.folder / place.edition.names_file[place.format]
    if not path.is_file():
        return place.edition.classes
    if place.format == "binary":
        names = read_bytes(path).decode("latin1").split()
    else:
        listed = read_pickle(path).get(place.edition.names_key)
        known = listed if isinstance(listed, list) else []
        names = [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in known]
    return tuple(names) if len(names) == place.edition.num_classes else place.edition.classes
