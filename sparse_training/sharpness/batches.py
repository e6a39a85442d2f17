"""Samples, read once in the order given and kept: what a curvature is measured on cannot change between products."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from commons.checks import refuse

Batch = tuple[Tensor, Tensor]
Data = Batch | Iterable[Batch]


def fixed_batches(data: Data) -> list[Batch]:
    """The batches of data: an (x, y) pair of tensors with equally many rows, or an iterable of such pairs.

    Raises:
        InputError: no sample at all, or something that is no such pair.
    """
    pair = isinstance(data, (tuple, list)) and len(data) == 2 and all(isinstance(part, Tensor) for part in data)
    batches = [_checked(batch) for batch in ([data] if pair else data)]
    batches = [(x, y) for x, y in batches if len(x)]
    if not batches:
        refuse("data", "no sample", "at least one sample")
    return batches


def count(batches: list[Batch]) -> int:
    """Number of samples."""
    return sum(len(x) for x, _ in batches)


def share(batches: list[Batch], rank: int, world: int) -> list[Batch]:
    """The samples that process `rank` of `world` measures: a contiguous part, empty where there are too few."""
    n = count(batches)
    first, last = n * rank // world, n * (rank + 1) // world
    parts, start = [], 0
    for x, y in batches:
        low, high = max(first - start, 0), min(last - start, len(x))
        if low < high:
            parts.append((x[low:high], y[low:high]))
        start += len(x)
    return parts


def chunks(batches: list[Batch], size: int) -> Iterator[Batch]:
    """The batches cut into as few pieces of at most `size` samples as there can be, equal up to one sample."""
    for x, y in batches:
        pieces = -(-len(x) // size)
        yield from zip(torch.tensor_split(x, pieces), torch.tensor_split(y, pieces), strict=True)


def picked(batches: list[Batch], rows: Tensor) -> list[Batch]:
    """The samples of these indices, in their order; as one batch where their shapes agree."""
    chosen = torch.zeros(count(batches), dtype=torch.bool, device=rows.device)
    chosen[rows] = True
    of_batches = zip(batches, torch.split(chosen, [len(x) for x, _ in batches]), strict=True)
    found = [(x[keep.to(x.device)], y[keep.to(y.device)]) for (x, y), keep in of_batches]
    if len({(x.shape[1:], y.shape[1:]) for x, y in found}) == 1:
        found = [(torch.cat([x for x, _ in found]), torch.cat([y for _, y in found]))]
    return [(x, y) for x, y in found if len(x)]


def _checked(batch: object) -> Batch:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2 or not all(isinstance(part, Tensor) for part in batch):
        refuse("data", type(batch).__name__, "a pair (x, y) of tensors or an iterable of such pairs")
    x, y = batch
    if not x.ndim or not y.ndim or len(x) != len(y):
        refuse("data", f"x {tuple(x.shape)}, y {tuple(y.shape)}", "a pair of tensors with equally many rows")
    return x, y
