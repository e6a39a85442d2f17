"""Independent random streams from one integer seed, and a fence that keeps torch's global generators as they were.

It never reads the clock and never seeds anything for good.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from commons.checks import number


def derive(seed: int, *keys: int | str) -> int:
    """A seed in [0, 2⁶³) for the stream named by keys, e.g. derive(seed, "order", epoch); streams are independent.

    Raises:
        InputError: seed is not an integer in [0, 2⁶³).
    """
    number("seed", seed, at_least=0, below=2**63, integer=True)
    name = json.dumps([int(seed), *(key if isinstance(key, str) else int(key) for key in keys)])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *keys: int | str) -> torch.Generator:
    """A CPU generator for the stream named by keys, so that draws do not depend on the device they end on."""
    return torch.Generator().manual_seed(derive(seed, *keys))


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block; afterwards their states are bit-identical to before."""
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = list(range(torch.cuda.device_count())) if cuda else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed_all(seed)
        yield
