"""Cross-entropy of logits whose classes come last, of images and of tokens alike."""

from typing import Any

from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, y: Tensor, **settings: Any) -> Tensor:
    """The mean cross-entropy over all labels: logits (..., V), y (...) int64, one a row; a 0-d tensor.

    settings: of `torch.nn.functional.cross_entropy`, whose own form for more than two dimensions expects the classes in
    the second one and is not deterministic on a GPU.
    """
    return functional.cross_entropy(logits.flatten(0, -2), y.flatten(), **settings)
