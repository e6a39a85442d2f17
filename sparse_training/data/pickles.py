"""Reads the pickled dictionaries of NumPy arrays of CIFAR's python version, without running anything in them.

No name in such a file is imported. The few names that the official files hold stand for the classes below, and any
other name is refused.
"""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from commons.checks import InputError
from commons.files import read_bytes


class _DType:
    """Stands for numpy.dtype; only its code, such as u1, is kept."""

    def __init__(self, code: str, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and flags, which one-byte integers do not have."""


class _Array:
    """Stands for numpy.ndarray; holds an array of bytes once its state is set."""

    def __init__(self, *_: object) -> None:
        self.values: np.ndarray[Any, np.dtype[np.uint8]] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[int, tuple[int, ...], _DType, bool, bytes | str]) -> None:
        _, shape, dtype, fortran, raw = state
        self.set(raw.encode("latin1") if isinstance(raw, str) else raw, dtype, shape, "F" if fortran else "C")

    def set(self, raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> None:
        if dtype.code not in ("u1", "|u1"):
            raise pickle.UnpicklingError(f"an array of {dtype.code} instead of bytes")
        self.values = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(raw: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.set(raw, dtype, shape, order)
    return array


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


_STANDS_FOR = {
    ("multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
}
# What a damaged pickle makes the unpickler, or the stand-ins, raise.
_FAULTS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name of NumPy, old (numpy.core) or new (numpy._core); no other name is allowed."""
        short = module.rpartition(".")[2] if module.startswith(("numpy.core.", "numpy._core.")) else module
        try:
            return _STANDS_FOR[short, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which data does not need") from None


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary pickled in path: keys as text, arrays as uint8 arrays, byte strings as they are.

    Raises:
        InputError: the file is cut short, is no pickle of a dictionary, or names anything but arrays.
    """
    content = read_bytes(path)
    try:
        value = _Reader(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(value, dict):
            raise pickle.UnpicklingError(f"a {type(value).__name__} instead of a dictionary")
        return {_text(key): item.values if isinstance(item, _Array) else item for key, item in value.items()}
    except _FAULTS as fault:
        reason = " ".join(str(fault).split()) or "it ends early"
    raise InputError(f"{str(path)!r} cannot be read, it is truncated, corrupt or unsafe: {reason}")


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
