"""The packed history of signs: one file, one frame an epoch, two bits a weight (negative, zero), read as a stream.

It never holds more than one frame in memory, and never decides what a flip is.

Layout, little-endian: magic, length of the header (uint64), header (JSON: name and shape of each layer, in network
order), then frames of equal length: epoch (int64), CRC-32 of the planes (uint32), and for each layer the plane of
negative signs followed by the plane of zeros, each padded to a whole byte. A weight that is off the mask has both bits
set, which no number has: the support costs no third bit.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from commons.checks import InputError, refuse

MAGIC = b"signs\x00v1"
_FRAME_HEAD = struct.Struct("<qI")
_GATHER = 0x0102040810204080  # times eight bytes of 0 or 1, the top byte of the product holds them as bits


@dataclass(frozen=True)
class Frame:
    """One epoch. signs: int8 by layer, −1, 0 or 1 (0 off the mask). active: bool by layer, on the mask."""

    epoch: int
    signs: dict[str, NDArray[np.int8]]
    active: dict[str, NDArray[np.bool_]]


def pack_bits(bits: Tensor) -> Tensor:
    """bool (k, n) -> uint8 (k, ceil(n / 8)), bit i of byte j of a row is bits[row, 8 j + i]; on the tensor's device."""
    rows, count = bits.shape
    if count % 8:
        bits = torch.cat((bits, bits.new_zeros((rows, -count % 8))), dim=1)
    return ((bits.view(torch.int64) * _GATHER) >> 56).to(torch.uint8)


def pack_signs(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None) -> bytes:
    """The planes of one frame from θ and bool masks by layer (a layer without a mask is all active)."""
    planes = []
    for name, weight in weights.items():
        theta = weight.detach().flatten()
        bits = torch.stack((theta < 0, theta == 0))
        if masks is not None and name in masks:
            bits |= ~masks[name].to(theta.device).flatten()
        planes.append(pack_bits(bits).flatten())
    return torch.cat(planes).cpu().numpy().tobytes() if planes else b""


class SignWriter:
    """Writes frames, epoch after epoch, to one file; a run that resumes at an earlier epoch writes over the later ones.

    path: made if absent; otherwise continued, by one writer at a time, and refused where its layers differ.
    layers: shape by name, input to output. Frames are not synced one by one; one cut short by a kill is left out.
    """

    def __init__(self, path: Path, layers: Mapping[str, tuple[int, ...]]) -> None:
        self.path = path
        self.layers = dict(layers)
        if not path.exists() or not path.stat().st_size:
            header = json.dumps({name: list(shape) for name, shape in self.layers.items()}).encode()
            path.write_bytes(MAGIC + struct.pack("<Q", len(header)) + header)
        self._history = SignHistory(path)
        if list(self._history.layers.items()) != list(self.layers.items()):
            refuse("path", str(path), "a history of this network's layers", "it records another network")
        self._epochs = self._history.epochs

    def write(self, epoch: int, planes: bytes) -> None:
        """Put the frame of `epoch` after the last one before it, and drop the frames that followed."""
        self._epochs = [known for known in self._epochs if known < epoch]
        with self.path.open("r+b") as file:
            file.seek(self._history.start + len(self._epochs) * self._history.frame_bytes)
            file.truncate()
            file.write(_FRAME_HEAD.pack(epoch, zlib.crc32(planes)) + planes)
        self._epochs.append(epoch)


class SignHistory:
    """The signs of a run, read frame by frame from the file that SignWriter makes.

    layers: shape by name, input to output. epochs: those recorded whole, ascending; 0 is the start of training.

    Raises:
        InputError: the file is missing or is no history of signs.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                start = file.read(len(MAGIC) + 8)
                if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 8:
                    refuse("path", str(path), "a history of signs")
                header = file.read(struct.unpack("<Q", start[len(MAGIC) :])[0])
        except OSError as error:
            raise InputError(f"path={str(path)!r} cannot be read: {error.strerror or error}") from None
        try:
            self.layers = {str(name): tuple(shape) for name, shape in json.loads(header).items()}
        except ValueError:
            refuse("path", str(path), "a history of signs", "its header is damaged")
        self.start = len(start) + len(header)
        self._plane = {name: -(-prod(shape) // 8) for name, shape in self.layers.items()}
        self.frame_bytes = _FRAME_HEAD.size + 2 * sum(self._plane.values())

    @property
    def epochs(self) -> list[int]:
        found: list[int] = []
        with self.path.open("rb") as file:
            for place in range((self.path.stat().st_size - self.start) // self.frame_bytes):
                file.seek(self.start + place * self.frame_bytes)
                found.append(_FRAME_HEAD.unpack(file.read(_FRAME_HEAD.size))[0])
        return found

    def frame(self, epoch: int) -> Frame:
        """The frame of one epoch; InputError names the recorded epochs if it is not among them."""
        epochs = self.epochs
        if epoch not in epochs:
            refuse("epoch", epoch, f"recorded in {self.path}", f"recorded are {_ranges(epochs)}")
        return self._read(epochs.index(epoch))

    def __iter__(self) -> Iterator[Frame]:
        return (self._read(place) for place in range(len(self.epochs)))

    def signs(self, epoch: int) -> dict[str, Tensor]:
        """int8 tensors by layer, −1, 0 or 1; 0 off the mask."""
        frame = self.frame(epoch)
        return {name: torch.from_numpy(values) for name, values in frame.signs.items()}

    def masks(self, epoch: int) -> dict[str, Tensor]:
        """bool tensors by layer, the support at that epoch."""
        frame = self.frame(epoch)
        return {name: torch.from_numpy(values) for name, values in frame.active.items()}

    def _read(self, place: int) -> Frame:
        with self.path.open("rb") as file:
            file.seek(self.start + place * self.frame_bytes)
            epoch, checksum = _FRAME_HEAD.unpack(file.read(_FRAME_HEAD.size))
            planes = file.read(self.frame_bytes - _FRAME_HEAD.size)
        if zlib.crc32(planes) != checksum:
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


def _ranges(epochs: list[int]) -> str:
    return f"{epochs[0]} to {epochs[-1]} ({len(epochs)} of them)" if epochs else "none"
