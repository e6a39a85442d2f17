"""The packed history of signs: one file with one frame an epoch and two bits a weight, read one frame at a time.

The file is little-endian. It begins with a magic number, the length of the header (uint64) and the header, a JSON
object with the name and shape of each layer in network order, and the CRC-32 of all this (uint32). Frames of equal
length follow. A frame holds the epoch (int64), the CRC-32 of the epoch and the planes (uint32), and for each layer the
plane of negative signs and the plane of zeros, each padded to a whole byte. No number is both negative and zero, so a
weight with both bits set is one off the mask: the support costs no third bit.

The first form of the file, magic `signs\0v1`, has no sum of its header, and its frames' sums leave out the epoch. It is
read, and continued in its own form, with the warning `OldForm`.
"""

import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commons.checks import InputError, refuse
from commons.files import OldForm, open_own, open_regular, sync, write_whole

MAGIC, OLD_MAGIC = b"signs\x00v2", b"signs\x00v1"
_EPOCH, _FRAME_HEAD = struct.Struct("<q"), struct.Struct("<qI")
_LARGEST_HEADER = 1 << 28  # bytes
_GATHER = 0x0102040810204080  # times eight bytes of 0 or 1, the top byte of the product holds them as bits


@dataclass(frozen=True)
class Frame:
    """The signs of one epoch. signs: int8 by layer, −1, 0 or 1, and 0 off the mask. active: bool by layer, the mask."""

    epoch: int
    signs: dict[str, NDArray[np.int8]]
    active: dict[str, NDArray[np.bool_]]


def pack_bits(bits: Tensor) -> Tensor:
    """Pack bool (k, n) into uint8 (k, ceil(n / 8)) on the same device.

    Bit i of byte j in a row is bits[row, 8 j + i].
    """
    rows, count = bits.shape
    if count % 8:
        bits = torch.cat((bits, bits.new_zeros((rows, -count % 8))), dim=1)
    return ((bits.view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


def pack_signs(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> bytes:
    """Pack weights and boolean masks by layer into the planes of one frame; a layer without a mask is all active.

    Raises:
        InputError: an active weight is not a number, and so has no sign.
    """
    planes, unknown = [], {}
    for name, weight in weights.items():
        theta = weight.detach().flatten()
        bits = torch.stack((theta < 0, theta == 0))
        nan = theta.isnan()
        if masks is not None and name in masks:
            active = masks[name].to(theta.device).flatten()
            bits |= ~active
            nan &= active
        unknown[name] = nan.any()
        planes.append(pack_bits(bits).flatten())
    if planes and torch.stack(list(unknown.values())).any():
        name = next(name for name, found in unknown.items() if found)
        raise InputError(f"an active weight of {name} is not a number, and so has no sign")
    return torch.cat(planes).cpu().numpy().tobytes() if planes else b""


class SignWriter:
    """Write frames to one file, epoch after epoch; a run that resumes at an earlier epoch overwrites the later ones.

    path: the file, made where there is none and continued otherwise, by one writer at a time.
    layers: shapes by name, from input to output. Each frame is synced to the disk; readers leave out a frame that a
    kill cut short.

    Raises:
        InputError: The file records other layers.
    """

    def __init__(self, path: Path, layers: Mapping[str, tuple[int, ...]]) -> None:
        self.path = path
        self.layers = dict(layers)
        if not path.exists() or not path.stat().st_size:
            header = json.dumps({name: list(shape) for name, shape in self.layers.items()}).encode()
            head = MAGIC + struct.pack("<Q", len(header)) + header
            write_whole(path, lambda temporary: temporary.write_bytes(head + struct.pack("<I", zlib.crc32(head))))
        self._history = SignHistory(path)
        if list(self._history.layers.items()) != list(self.layers.items()):
            refuse("path", str(path), "a history of this network's layers", "it records another network")
        self._epochs = self._history.epochs

    def write(self, epoch: int, planes: bytes) -> None:
        """Write the packed `planes` of an epoch after the last earlier frame, and drop the frames that followed."""
        self._epochs = [known for known in self._epochs if known < epoch]
        with open_own(self.path, "r+b") as file:
            file.seek(self._history.start + len(self._epochs) * self._history.frame_bytes)
            file.truncate()
            file.write(_FRAME_HEAD.pack(epoch, self._history.checksum(epoch, planes)) + planes)
            sync(file)
        self._epochs.append(epoch)


class SignHistory:
    """The signs of a run, read frame by frame from the file that SignWriter makes.

    path: the file. layers: shapes by name, from input to output.

    Raises:
        InputError: The file is missing, it is no history of signs, or its header or its epochs are damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with open_regular(path) as file:
            start = file.read(len(MAGIC) + 8)
            magic = start[: len(MAGIC)]
            if magic not in (MAGIC, OLD_MAGIC) or len(start) < len(MAGIC) + 8:
                refuse("path", str(path), "a history of signs")
            length = int.from_bytes(start[len(MAGIC) :], "little")
            header = file.read(min(length, _LARGEST_HEADER))
            told = b"" if magic == OLD_MAGIC else file.read(4)
        if magic == OLD_MAGIC:
            text = f"{str(path)!r} is of an old form: damage to its header and its epochs cannot be found"
            warnings.warn(text, OldForm, stacklevel=2)
        elif told != struct.pack("<I", zlib.crc32(start + header)):
            refuse("path", str(path), "a history of signs", "its header is damaged")
        self.old_form = magic == OLD_MAGIC
        self.layers = _layers(path, header)
        self.start = len(start) + len(header) + len(told)
        self._plane = {name: -(-prod(shape) // 8) for name, shape in self.layers.items()}
        self.frame_bytes = _FRAME_HEAD.size + 2 * sum(self._plane.values())
        known = self.epochs
        if any(later <= earlier for earlier, later in pairwise(known)) or min(known, default=0) < 0:
            refuse("path", str(path), "a history of signs", f"its epochs do not ascend: {known[:5]}")

    def checksum(self, epoch: int, planes: bytes) -> int:
        """The CRC-32 that the head of a frame holds, of its epoch and its planes of signs and zeros."""
        return zlib.crc32(planes, 0 if self.old_form else zlib.crc32(_EPOCH.pack(epoch)))

    @property
    def epochs(self) -> list[int]:
        """The epochs that are recorded whole, ascending; 0 is the start of training."""
        found: list[int] = []
        with open_regular(self.path) as file:
            for place in range((os.fstat(file.fileno()).st_size - self.start) // self.frame_bytes):
                file.seek(self.start + place * self.frame_bytes)
                found.append(_FRAME_HEAD.unpack(file.read(_FRAME_HEAD.size))[0])
        return found

    def frame(self, epoch: int) -> Frame:
        """Read the frame of one epoch; InputError names the recorded epochs if it is not among them."""
        epochs = self.epochs
        if epoch not in epochs:
            refuse("epoch", epoch, f"recorded in {self.path}", f"recorded are {_ranges(epochs)}")
        return self._read(epochs.index(epoch))

    def __iter__(self) -> Iterator[Frame]:
        return (self._read(place) for place in range(len(self.epochs)))

    def signs(self, epoch: int) -> dict[str, Tensor]:
        """Return the signs of one epoch by layer: int8 tensors of −1, 0 and 1, and 0 off the mask."""
        frame = self.frame(epoch)
        return {name: torch.from_numpy(values) for name, values in frame.signs.items()}

    def masks(self, epoch: int) -> dict[str, Tensor]:
        """Return the support at one epoch by layer, as bool tensors."""
        frame = self.frame(epoch)
        return {name: torch.from_numpy(values) for name, values in frame.active.items()}

    def _read(self, place: int) -> Frame:
        with open_regular(self.path) as file:
            file.seek(self.start + place * self.frame_bytes)
            epoch, checksum = _FRAME_HEAD.unpack(file.read(_FRAME_HEAD.size))
            planes = file.read(self.frame_bytes - _FRAME_HEAD.size)
        if self.checksum(epoch, planes) != checksum:
            raise InputError(f"path={str(self.path)!r}: the signs of epoch {epoch} are damaged (checksum differs)")
        signs, active, at = {}, {}, 0
        for name, shape in self.layers.items():
            size = self._plane[name]
            bits = np.frombuffer(planes, np.uint8, 2 * size, at).reshape(2, size)
            negative, zero = np.unpackbits(bits, axis=1, count=prod(shape), bitorder="little").view(np.bool_)
            signs[name] = np.where(zero, 0, 1 - 2 * negative.view(np.int8)).astype(np.int8).reshape(shape)
            active[name] = ~(negative & zero).reshape(shape)
            at += 2 * size
        return Frame(epoch, signs, active)


def _layers(path: str | Path, header: bytes) -> dict[str, tuple[int, ...]]:
    """Shapes by name from the JSON of a header."""
    try:
        layers = {str(name): tuple(shape) for name, shape in json.loads(header).items()}
        sizes = [size for shape in layers.values() for size in shape]
    except (ValueError, TypeError, AttributeError, RecursionError):
        refuse("path", str(path), "a history of signs", "its header is damaged")
    if not all(type(size) is int and 0 <= size < 1 << 40 for size in sizes):
        refuse("path", str(path), "a history of signs", "its header is damaged")
    return layers


def _ranges(epochs: list[int]) -> str:
    return f"{epochs[0]} to {epochs[-1]} ({len(epochs)} of them)" if epochs else "none"
