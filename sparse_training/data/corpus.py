"""Which text trains and which tests: the standard library of the running Python, or a file or folder of the user's.

Whole packages are held out, and long lines that also stand in the training text are dropped from the test.
"""

import hashlib
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from commons.checks import InputError, refuse
from commons.files import read_bytes

TEST_SHARE = 0.1
LONG_LINE = 40  # bytes, without the white space around it
# Folders of the standard library that are not its code: tests, tables of encodings and of help texts, a grammar of
# Python 2, and what was installed beside it.
LEFT_OUT = {"test", "tests", "idle_test", "encodings", "pydoc_data", "lib2to3", "site-packages", "dist-packages"}


@dataclass(frozen=True, eq=False)
class Corpus:
    """The bytes of two splits, which share no file of a package and no long line.

    train, test: (n,) uint8. files: of each split, by path below the root, in their order. dropped: number of test lines
    that were left out because they also stand in the training text.
    """

    train: Tensor
    test: Tensor
    files: Mapping[str, tuple[str, ...]]
    dropped: int


def standard_library() -> Corpus:
    """The sources of the running interpreter's standard library, without tests, encodings/, pydoc_data/ and lib2to3/.

    Files are in the order of their paths. Links, and what the interpreter's build wrote, are left out.
    """
    root = Path(sysconfig.get_path("stdlib"))
    return _by_package(
        root, [path for path in _files(root, LEFT_OUT) if path.endswith(".py") and "_sysconfigdata_" not in path]
    )


def corpus_of(root: Path) -> Corpus:
    """A text file, whose last tenth is the test and which is mapped into memory; or all files below a folder.

    Raises:
        InputError: there is no text, or all of it is in one line or one package.
    """
    if root.is_file():
        return _one_file(root)
    files = list(_files(root, set()))
    if len(files) == 1:
        return _one_file(root / files[0])
    return _by_package(root, files)


def held_out(sizes: Mapping[str, int]) -> set[str]:
    """The packages of the test, from their names and sizes: about a tenth of all bytes, and never all packages.

    Packages are taken in the order of the SHA-256 of their names, as far as they fit; the smallest one if none does.
    """
    room, chosen = TEST_SHARE * sum(sizes.values()), set()
    for name in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if sizes[name] <= room:
            room -= sizes[name]
            chosen.add(name)
    return chosen or {min(sizes, key=lambda name: (sizes[name], name))}


def without_known_lines(test: bytes, train: Callable[[], Iterable[bytes]]) -> tuple[bytes, int]:
    """The test without its long lines that `train()` has too, and how many these were; indentation does not count."""
    lines = test.splitlines(keepends=True)
    long = {line.strip() for line in lines if len(line.strip()) >= LONG_LINE}
    known = {line.strip() for line in train() if len(line) >= LONG_LINE} & long
    kept = [line for line in lines if line.strip() not in known]
    return b"".join(kept), len(lines) - len(kept)


def _files(root: Path, left_out: set[str]) -> Iterator[str]:
    """Regular files below root as paths relative to it, sorted; hidden and compiled ones are left out."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in left_out | {"__pycache__"} and not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                found.append(path.relative_to(root).as_posix())
    yield from sorted(found)


def _by_package(root: Path, files: list[str]) -> Corpus:
    """Files below root, split by the first part of their paths."""
    texts = {name: read_bytes(root / name) for name in files}
    sizes: dict[str, int] = {}
    for name, text in texts.items():
        sizes[_package(name)] = sizes.get(_package(name), 0) + len(text)
    if len(sizes) < 2:
        refuse("root", str(root), "a text file, or a folder with files in at least two places below it")
    chosen = held_out(sizes)
    splits = {
        split: tuple(name for name in files if (_package(name) in chosen) == (split == "test"))
        for split in ("train", "test")
    }
    train, test = (b"".join(texts[name] for name in splits[split]) for split in ("train", "test"))
    test, dropped = without_known_lines(test, train.splitlines)
    return Corpus(_bytes(train), _bytes(test), splits, dropped)


def _package(file: str) -> str:
    return file.partition("/")[0]


def _one_file(path: Path) -> Corpus:
    """The training text is mapped; the test is read, and begins with a line of its own."""
    size = path.stat().st_size
    whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8) if size else torch.empty(0)
    begin = round(size * (1 - TEST_SHARE))
    with path.open("rb") as file:
        file.seek(begin)
        begin += len(file.readline())
        test = file.read()
    if not test:
        raise InputError(f"{str(path)!r} has no last tenth of lines of its own to test on")

    def train() -> Iterator[bytes]:
        with path.open("rb") as file:
            while file.tell() < begin and (line := file.readline()):
                yield line

    kept, dropped = without_known_lines(test, train)
    names = {"train": (path.name,), "test": (path.name,)}
    return Corpus(whole[:begin], _bytes(kept), names, dropped)


def _bytes(text: bytes) -> Tensor:
    return torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else torch.empty(0, dtype=torch.uint8)
