"""Cross-entropy of logits whose classes come last, of images and of tokens alike, and of tokens piece by piece."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(logits: Tensor, y: Tensor, **settings: Any) -> Tensor:
    """The mean cross-entropy over all labels: logits (..., V), y (...) int64, one a row; a 0-d tensor.

    settings: of `torch.nn.functional.cross_entropy`, whose own form for more than two dimensions expects the classes in
    the second one and is not deterministic on a GPU.
    """
    return functional.cross_entropy(logits.flatten(0, -2), y.flatten(), **settings)


def token_losses(hidden: Tensor, weight: Tensor, y: Tensor, tokens: int = 1024) -> Tensor:
    """The cross-entropy of each token from what enters the head, without the logits of more than `tokens` at once.

    hidden: (N, D). weight: (V, D), of the head. y: (N,) int64. Returns (N,). First and second derivatives compute the
    logits again, piece by piece, so that their memory does not grow with the vocabulary times the number of tokens
    either; there is no third derivative, and none in forward mode.
    """
    losses: Tensor = _TokenLosses.apply(hidden, weight, y, tokens)  # type: ignore[no-untyped-call]
    return losses


class _TokenLosses(torch.autograd.Function):
    """log Σ exp(W h) − (W h)_y of each token."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, y: Tensor, tokens: int) -> Tensor:
        ctx.save_for_backward(hidden, weight, y)
        ctx.tokens = tokens
        pieces = _pieces(tokens, hidden, y)
        return torch.cat([functional.cross_entropy(h @ weight.T, part, reduction="none") for h, part in pieces])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        hidden, weight, y = ctx.saved_tensors
        found = _TokenGradients.apply(hidden, weight, gradients[0], y, ctx.tokens)  # type: ignore[no-untyped-call]
        return *found, None, None


class _TokenGradients(torch.autograd.Function):
    """Gradients of Σ gₙ lossₙ: rW in h and rᵀh in W, where r = g (softmax(W h) − e_y)."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, g: Tensor, y: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(hidden, weight, g, y)
        ctx.tokens = tokens
        of_hidden, of_weight = [], torch.zeros_like(weight)
        for h, scale, part in _pieces(tokens, hidden, g, y):
            r = _residual(h, weight, scale, part)
            of_hidden.append(r @ weight)
            of_weight += r.T @ h
        return torch.cat(of_hidden), of_weight

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        hidden, weight, g, y = ctx.saved_tensors
        along_hidden, along_weight = gradients
        of_hidden, of_weight, of_g = [], torch.zeros_like(weight), []
        for h, scale, part, along in _pieces(ctx.tokens, hidden, g, y, along_hidden):
            inputs = [tensor.detach().requires_grad_() for tensor in (h, weight, scale)]
            with torch.enable_grad():
                r = _residual(inputs[0], inputs[1], inputs[2], part)
                whole = (r @ inputs[1] * along).sum() + (r.T @ inputs[0] * along_weight).sum()
            found = torch.autograd.grad(whole, inputs)
            of_hidden.append(found[0])
            of_weight += found[1]
            of_g.append(found[2])
        return torch.cat(of_hidden), of_weight, torch.cat(of_g), None, None


def _pieces(tokens: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(torch.split(tensor, tokens) for tensor in tensors), strict=True)


def _residual(h: Tensor, weight: Tensor, scale: Tensor, y: Tensor) -> Tensor:
    """g (softmax(W h) − e_y), (n, V)."""
    p = (h @ weight.T).softmax(1)
    return scale[:, None] * (p - functional.one_hot(y, len(weight)).to(p.dtype))
