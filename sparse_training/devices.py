"""The device that a name stands for, checked before any work is done on it, and how exact its float32 products are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from commons.checks import refuse


def device_at_hand(argument: str, name: str) -> torch.device:
    """The device called `name`, on which a tensor can be made and read.

    Raises:
        InputError: names the argument; there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        refuse(argument, name, "a device at hand", str(error).splitlines()[0])
    return device


@contextmanager
def float32_products(tf32: bool = False) -> Iterator[None]:
    """Products and convolutions of float32 tensors on cuda with TF32, or without it as float32 means it.

    Afterwards torch's settings are as before. torch itself rounds convolutions to TF32 and products not.
    """
    backends: Any = torch.backends
    kinds = [(backends.cuda, "matmul"), (backends.cudnn, "conv"), (backends.cudnn, "rnn"), (backends.mkldnn, "matmul")]
    places: list[Any] = [getattr(backend, name, None) for backend, name in kinds]
    own = [(place, place.fp32_precision) for place in places if hasattr(place, "fp32_precision")]  # since torch 2.9
    try:
        matmul, cudnn = torch.get_float32_matmul_precision(), backends.cudnn.allow_tf32
    except RuntimeError:  # the new settings alone were used, and are put back alone
        matmul, cudnn = "highest", True
    try:
        torch.set_float32_matmul_precision("high" if tf32 else "highest")
        backends.cudnn.allow_tf32 = tf32
        yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        backends.cudnn.allow_tf32 = cudnn
        for place, value in own:
            place.fp32_precision = value
