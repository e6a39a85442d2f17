"""The weights in which curvature is taken, and the way between their vector and the tensors of the network."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from commons.checks import choice, nearest, refuse
from sparse_training.masks import prunable

Params = str | Sequence[str]


class Coordinates:
    """The active entries of the chosen parameters, one after another, as a vector of length `size`.

    names: the chosen parameters in the order of the vector. total: their number of entries, active or not.
    values: their tensors at the time of the call, copied, zero off the mask.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Mapping[str, Tensor] | None = None,
        params: Params = "prunable",
        dtype: torch.dtype | None = None,
    ) -> None:
        parameters = dict(model.named_parameters())
        masks = masks or {}
        self.names = _chosen(model, parameters, masks, params)
        active = [_active(name, parameters[name], masks.get(name)) for name in self.names]
        self.dtype = dtype or _precision(parameters, self.names)
        self.device = parameters[self.names[0]].device
        self.values = [
            (parameters[name].detach().to(self.dtype) * mask).requires_grad_()
            for name, mask in zip(self.names, active, strict=True)
        ]
        for name, value in zip(self.names, self.values, strict=True):
            if not bool(torch.isfinite(value).all()):
                refuse(f"model.{name}", "nan or inf", "finite")
        flat = torch.cat([mask.reshape(-1) for mask in active])
        self.total, self.size = flat.numel(), int(flat.sum())
        if not self.size:
            refuse("masks", f"0 of {self.total}", "a choice with at least one active weight")
        self._index = None if self.size == self.total else flat.nonzero().squeeze(1)
        self._full = torch.zeros(self.total, dtype=self.dtype, device=self.device)
        self._sizes = [value.numel() for value in self.values]

    def to(self, dtype: torch.dtype) -> "Coordinates":
        """Return the same weights in another precision."""
        other = copy.copy(self)
        other.dtype, other._full = dtype, self._full.to(dtype)
        other.values = [value.detach().to(dtype).requires_grad_() for value in self.values]
        return other

    def tensors(self, v: Tensor) -> list[Tensor]:
        """Vector (size,) as tensors in the parameters' shapes, zero off the mask; overwritten by the next call."""
        if self._index is None:
            self._full.copy_(v)
        else:
            self._full[self._index] = v.to(self.dtype)
        parts = torch.split(self._full, self._sizes)
        return [part.view_as(value) for part, value in zip(parts, self.values, strict=True)]

    def vector(self, tensors: Sequence[Tensor]) -> Tensor:
        """The active entries of tensors in the parameters' shapes, as a vector (size,)."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        return flat if self._index is None else flat[self._index]


def _chosen(
    model: nn.Module, parameters: dict[str, nn.Parameter], masks: Mapping[str, Tensor], params: Params
) -> list[str]:
    for name in masks:
        if name not in parameters:
            refuse("masks", name, "the name of a parameter of the model", nearest(name, parameters))
    if not isinstance(params, str):
        for name in params:
            if name not in parameters:
                refuse("params", name, "the name of a parameter of the model", nearest(name, parameters))
        if not params:
            refuse("params", params, "at least one name")
        return [name for name in parameters if name in set(params)]
    if choice("params", params, ("prunable", "all")) == "all":
        return list(parameters)
    weights = prunable(model)
    return [name for name in parameters if name in weights or name in masks]


def _active(name: str, parameter: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return torch.ones(parameter.shape, dtype=torch.bool, device=parameter.device)
    if mask.dtype != torch.bool or mask.shape != parameter.shape:
        refuse(f"masks[{name!r}]", f"{mask.dtype} {tuple(mask.shape)}", f"boolean of shape {tuple(parameter.shape)}")
    return mask.to(parameter.device)


def _precision(parameters: dict[str, nn.Parameter], names: list[str]) -> torch.dtype:
    widest = parameters[names[0]].dtype
    for name in names:
        widest = torch.promote_types(widest, parameters[name].dtype)
    return torch.promote_types(widest, torch.float32)
