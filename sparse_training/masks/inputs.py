"""Batches of any structure, and the input from which SynFlow starts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def each_tensor(batch: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The batch with each tensor changed, in whatever mappings, lists and tuples it lies; other values stay."""
    if isinstance(batch, Tensor):
        return change(batch)
    if isinstance(batch, Mapping):
        return {key: each_tensor(value, change) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        parts = [each_tensor(value, change) for value in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


def placed(batch: Any, device: torch.device) -> Any:
    """The batch on a device."""
    return each_tensor(batch, lambda tensor: tensor.to(device))


def ones(batch: Any, model: nn.Module) -> Any:
    """The batch with ones, float64; what an embedding of the model may read, integers such as token ids, stays."""
    ids = bool(_embeddings(model))
    return each_tensor(
        batch, lambda t: t if ids and not t.is_floating_point() else torch.ones_like(t, dtype=torch.float64)
    )


@contextmanager
def embeddings_of_ones(model: nn.Module) -> Iterator[None]:
    """Let every embedding of the model give ones while the block runs."""
    hooks = [
        owner.register_forward_hook(lambda _, inputs, output: torch.ones_like(output)) for owner in _embeddings(model)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _embeddings(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
