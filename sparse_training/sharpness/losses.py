"""A loss as the sum and the weight of each piece of the data, so that every chunking gives the same weighted mean.

A loss is a function of (model(x), y). It returns one of these:

- a scalar: the plain mean over the samples, which the operator checks on every piece (see additive.py);
- a tensor of losses, as with reduction="none", one a sample or a token: the mean over all of them;
- a pair (losses, weights) of tensors of one shape, or (sum, weight) of scalars: Σ weight·loss / Σ weight.

Cross-entropy is known by its settings: `torch.nn.CrossEntropyLoss`, `torch.nn.NLLLoss`, their functions, and
`functools.partial` of these with class weights, ignore_index or label smoothing. Its mean is PyTorch's weighted one,
over all samples; outputs may be (B, T, V) with targets (B, T), too.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from commons.checks import refuse
from sparse_training.sharpness.batches import Batch

Loss = Callable[[Tensor, Tensor], Any]
# A summed loss, and the weight to divide by; None in place of a weight says that the first is a mean over the samples.
Part = tuple[Tensor, Tensor | float | None]


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """Cross-entropy of logits, or with `function` nll_loss of log-probabilities, with PyTorch's settings.

    plain: the targets are such that its mean is the plain mean over samples.
    """

    function: Callable[..., Tensor]
    weight: Tensor | None = None
    ignore_index: int = -100
    smoothing: float = 0.0
    plain: bool = False

    def __call__(self, output: Tensor, y: Tensor) -> Part:
        """The part of a piece: output (B, C, ...) or (B, ..., C), y (B, ...) of classes or of probabilities."""
        logits = classes_second(output, y)
        settings: dict[str, Any] = {"ignore_index": self.ignore_index}
        if self.smoothing:
            settings["label_smoothing"] = self.smoothing
        classes = None if self.weight is None else self.weight.to(logits.device, logits.dtype)
        if self.plain:
            return self.function(logits, y, weight=classes, **settings), None
        total = self.function(logits, y, weight=classes, reduction="sum", **settings)
        if y.is_floating_point():
            return total, y.numel() / y.shape[1]
        counted = y[y != self.ignore_index]
        return total, counted.numel() if classes is None else classes[counted].sum()


def part_of(loss: Loss, batches: list[Batch]) -> Callable[[Tensor, Tensor], Part]:
    """The loss as a function of (output, y) that returns its sum and its weight, or a mean and None.

    Raises:
        InputError: when called, if the loss returns neither a tensor nor a pair of one shape.
    """
    known = _cross_entropy(loss)
    if known is None:
        return lambda output, y: _part(loss(output, y))
    shapes = {y.shape[1:] for _, y in batches}
    soft = all(y.is_floating_point() for _, y in batches)
    ignores = not soft and any(bool((y == known.ignore_index).any()) for _, y in batches)
    plain = len(shapes) == 1 and (soft or (known.weight is None and not ignores))
    return CrossEntropy(known.function, known.weight, known.ignore_index, known.smoothing, plain)


def classes_second(output: Tensor, y: Tensor) -> Tensor:
    """Return logits of tokens (B, T, V) as (B, V, T), which is PyTorch's order, where y (B, T) shows that they are."""
    if y.is_floating_point() or output.ndim <= 2 or (len(output), *output.shape[2:]) == y.shape:
        return output
    return output.movedim(-1, 1)


def accuracy(outputs: Iterable[tuple[Tensor, Tensor]], ignored: int = -100) -> float | None:
    """Return the percentage of targets y that are the largest logit; None where y is not of classes.

    outputs: pairs of logits (B, C, ...) or (B, ..., C) and y (B, ...). ignored: the target that does not count.
    """
    right = counted = 0
    for output, y in outputs:
        if not isinstance(output, Tensor) or y.is_floating_point() or output.ndim < 2:
            return None
        chosen = classes_second(output, y).argmax(1)
        if chosen.shape != y.shape:
            return None
        right += int(((chosen == y) & (y != ignored)).sum())
        counted += int((y != ignored).sum())
    return 100 * right / counted if counted else None


def _part(found: object) -> Part:
    if isinstance(found, Tensor):
        return (found.sum(), found.numel()) if found.ndim else (found, None)
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[0], Tensor):
        refuse("loss(output, y)", type(found).__name__, "a tensor, or a pair of losses and their weights")
    losses, weights = found
    weights = torch.as_tensor(weights, device=losses.device).detach()
    if weights.shape != losses.shape:
        shapes = f"{tuple(losses.shape)} and {tuple(weights.shape)}"
        refuse("loss(output, y)", shapes, "losses and weights of one shape, or their two sums")
    return (losses, weights) if not losses.ndim else ((losses * weights).sum(), weights.sum())


def _cross_entropy(loss: Loss) -> CrossEntropy | None:
    """The settings of PyTorch's cross-entropy, or None for any other loss and for the sum over samples."""
    function, settings = loss, dict[str, Any]()
    if isinstance(loss, partial) and not loss.args:
        function, settings = loss.func, dict(loss.keywords)
    for kind, own in ((nn.CrossEntropyLoss, functional.cross_entropy), (nn.NLLLoss, functional.nll_loss)):
        if isinstance(loss, kind) and type(loss).forward is kind.forward:
            names = ("weight", "ignore_index", "label_smoothing", "reduction")
            function, settings = own, {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    if function not in (functional.cross_entropy, functional.nll_loss):
        return None
    reduction, weight = settings.pop("reduction", "mean"), settings.pop("weight", None)
    ignored, smoothing = settings.pop("ignore_index", -100), settings.pop("label_smoothing", 0.0)
    if settings or reduction not in ("mean", "none"):
        return None
    return CrossEntropy(function, weight, ignored, smoothing)
