"""Folders of images, SPLIT/CLASS/IMAGE: which files there are, and whole small sets decoded once and cached.

The cache lies in the user's cache folder, never among the images. It is found by a digest of the names and the
contents of the images, so that a changed image is never missed.
"""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from commons.checks import InputError
from commons.files import output_directory, read_bytes
from sparse_training.data.cache import cache_file
from sparse_training.data.decode import SUFFIXES, image_size, open_image, pixels
from sparse_training.data.resident import Images
from sparse_training.tensor_files import DIGEST, read_tensors, write_tensors

TEST_NAMES = ("test", "val", "validation")


@dataclass(frozen=True, eq=False)
class Split:
    """Image files of one split, sorted by class and name, with labels (n,) int64."""

    folder: Path
    files: tuple[str, ...]
    labels: Tensor

    def path(self, index: int) -> Path:
        """The path of one image."""
        return self.folder / self.files[index]


@dataclass(frozen=True, eq=False)
class ImageFolder:
    """A folder with train/ and test/ (or val/), each with one folder a class."""

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, Split]


def scan(root: Path) -> ImageFolder | None:
    """List the images below root; None where it has no train/ folder.

    Raises:
        InputError: no test split, a split without class folders, a class without images, or classes that differ.
    """
    if not (root / "train").is_dir():
        return None
    test = next((root / name for name in TEST_NAMES if (root / name).is_dir()), None)
    if test is None:
        raise InputError(f"{str(root)!r} has train/ but neither test/ nor val/")
    classes = _class_folders(root / "train")
    other = _class_folders(test)
    if classes != other:
        differing = sorted(set(classes) ^ set(other))
        raise InputError(f"train/ and {test.name}/ of {str(root)!r} differ in classes: {', '.join(differing[:5])}")
    return ImageFolder(root, classes, {"train": _split(root / "train", classes), "test": _split(test, classes)})


def decode_all(folder: ImageFolder, side: tuple[int, int]) -> tuple[Images, Images]:
    """Train and test sets with every image decoded, all of the same (height, width); from the cache if it has them.

    Raises:
        InputError: an image cannot be decoded or has another size.
    """
    cache = cache_file(_content_key(folder))
    cached = _read_cache(cache, folder, side)
    if cached is not None:
        return cached
    decoded = {name: _decode_split(split, side) for name, split in folder.splits.items()}
    with suppress(InputError, OSError):  # not writable, or no room: the images are decoded again next time
        write_tensors(output_directory("cache", cache.parent) / cache.name, decoded, {})
    return _with_labels(folder, decoded)


def check_all(folder: ImageFolder) -> Iterator[str | None]:
    """Decode every image; yields None for a good one and the one-line fault of a bad one."""
    paths = [split.path(index) for split in folder.splits.values() for index in range(len(split.files))]

    def fault(path: Path) -> str | None:
        try:
            open_image(path)
        except InputError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        yield from pool.map(fault, paths)


def _class_folders(split: Path) -> tuple[str, ...]:
    names = sorted(
        _named(split, entry.name) for entry in _entries(split) if entry.is_dir() and not entry.name.startswith(".")
    )
    if not names:
        raise InputError(f"{str(split)!r} has no class folders; images are expected as {split.name}/CLASS/IMAGE")
    return tuple(names)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(f"{str(folder)!r} cannot be listed: {error.strerror}") from None


def _split(folder: Path, classes: tuple[str, ...]) -> Split:
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        entries = [e for e in _entries(folder / name) if os.path.splitext(e.name)[1].lower() in SUFFIXES]
        images = sorted(_regular(folder / name, entry) for entry in entries)
        if not images:
            raise InputError(f"class {name!r} of {str(folder)!r} has no image")
        files += [f"{name}/{image}" for image in images]
        labels += [label] * len(images)
    return Split(folder, tuple(files), torch.tensor(labels))


def _regular(folder: Path, entry: os.DirEntry[str]) -> str:
    """The name of an image file; InputError where it is a pipe, a device or a folder, or its name is not UTF-8."""
    if not entry.is_file():
        raise InputError(f"{str(folder / entry.name)!r} is named as an image but is no regular file")
    return _named(folder, entry.name)


def _named(folder: Path, name: str) -> str:
    """The name; InputError where its bytes are not UTF-8, as other machines could not read it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{str(folder / name)!r} has a name that is not UTF-8") from None
    return name


def _decode_split(split: Split, side: tuple[int, int]) -> Tensor:
    """(n, 3, H, W) uint8."""
    out = np.empty((len(split.files), 3, *side), np.uint8)

    def decode(index: int) -> None:
        image = open_image(split.path(index))
        if (image.height, image.width) != side:
            expected = f"{side[0]}×{side[1]} as the first is; with an image_size, images are cropped to one size"
            raise InputError(f"image {str(split.path(index))!r} is {image.height}×{image.width}, not {expected}")
        out[index] = pixels(image)

    with ThreadPoolExecutor() as pool:
        try:
            for _ in pool.map(decode, range(len(split.files))):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(out)


def _with_labels(folder: ImageFolder, decoded: dict[str, Tensor]) -> tuple[Images, Images]:
    train, test = (Images(decoded[name], folder.splits[name].labels) for name in ("train", "test"))
    return train, test


def _content_key(folder: ImageFolder) -> str:
    """A digest of every file's name and bytes, and of the decoder."""
    digest = hashlib.sha256(f"Pillow {PIL.__version__}".encode())
    for name, split in folder.splits.items():
        for file, index in zip(split.files, range(len(split.files)), strict=True):
            content = read_bytes(split.path(index))
            digest.update(f"\0{name}/{file}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest()[:32]


def _read_cache(path: Path, folder: ImageFolder, side: tuple[int, int]) -> tuple[Images, Images] | None:
    """The cached pixels, or None where there are none that fit; a damaged cache is as good as none."""
    try:
        decoded, metadata = read_tensors(path)
    except InputError:
        return None
    expected = {name: (len(split.files), 3, *side) for name, split in folder.splits.items()}
    fits = {name: tuple(tensor.shape) for name, tensor in decoded.items() if tensor.dtype == torch.uint8} == expected
    return _with_labels(folder, decoded) if fits and DIGEST in metadata else None


def unpack_hint(root: Path) -> str:
    """A remark for an error message about a folder that holds archives of a data set, or nothing."""
    archives = sorted(path.name for path in root.iterdir() if path.suffix in (".tar", ".tgz", ".gz", ".xz", ".zip"))
    return f"; unpack {archives[0]} first" if archives else ""


def first_size(folder: ImageFolder) -> tuple[int, int]:
    """(height, width) of the first training image."""
    return image_size(folder.splits["train"].path(0))
