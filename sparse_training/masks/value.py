"""`Masks`: which weights are active, by parameter name; a value that checks itself, counts, and goes to safetensors."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from commons.checks import nearest, refuse
from commons.files import OldForm, output_directory
from sparse_training.tensor_files import DIGEST, read_tensors, write_tensors


@dataclass(frozen=True)
class LayerMask:
    """The count of the layer `name`: `active` of `total` weights of the given shape."""

    name: str
    shape: tuple[int, ...]
    active: int
    total: int

    @property
    def density(self) -> float:
        """active / total, in [0, 1]."""
        return self.active / self.total


class Masks(Mapping[str, Tensor]):
    """Boolean tensors by parameter name, True where the weight is active; ordered from input to output.

    Two masks are equal if names, shapes and entries are. The tensors are not to be written to.

    Raises:
        InputError: no mapping, no tensor at all, one that is empty or not boolean, or tensors on several devices.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        if not isinstance(tensors, Mapping):
            refuse("masks", type(tensors).__name__, "a mapping from parameter names to boolean tensors")
        self._tensors = dict(tensors)
        if not self._tensors:
            refuse("masks", {}, "a mapping with at least one mask")
        for name, mask in self._tensors.items():
            if not isinstance(mask, Tensor) or mask.dtype != torch.bool or not mask.numel():
                kind = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
                refuse(f"masks[{name!r}]", kind, "a boolean tensor with at least one entry")
        devices = sorted({str(mask.device) for mask in self._tensors.values()})
        if len(devices) > 1:
            refuse("masks", devices, "on one device")

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return list(self) == list(other) and all(torch.equal(mask.cpu(), other[k].cpu()) for k, mask in self.items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Masks({len(self)} layers, {self.active:,} of {self.total:,} weights, density {self.density:.4%})"

    @property
    def total(self) -> int:
        """Number of prunable weights."""
        return sum(mask.numel() for mask in self.values())

    @property
    def active(self) -> int:
        """Number of active weights."""
        return sum(layer.active for layer in self.layers())

    @property
    def density(self) -> float:
        """active / total over the prunable weights, in [0, 1]; `density_in` counts over all parameters."""
        return self.active / self.total

    @property
    def device(self) -> torch.device:
        """The device that holds the masks."""
        return next(iter(self.values())).device

    def layers(self) -> list[LayerMask]:
        """The counts, layer by layer."""
        counts = torch.stack([mask.sum() for mask in self.values()]).tolist()
        return [
            LayerMask(name, tuple(mask.shape), active, mask.numel())
            for (name, mask), active in zip(self.items(), counts, strict=True)
        ]

    def density_in(self, model: nn.Module) -> float:
        """Share of all parameters of the model, prunable or not, that are left, in [0, 1]."""
        self.check(model)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return (parameters - self.total + self.active) / parameters

    def to(self, device: torch.device | str) -> "Masks":
        """The same masks on another device."""
        return Masks({name: mask.to(device) for name, mask in self.items()})

    def check(self, model: nn.Module) -> None:
        """Raise InputError, naming the parameter and the shapes, unless every mask fits a parameter of the model."""
        parameters = dict(model.named_parameters())
        for name, mask in self.items():
            if name not in parameters:
                refuse("masks", name, "a parameter of the model", nearest(name, parameters))
            shape = tuple(parameters[name].shape)
            if tuple(mask.shape) != shape:
                refuse(f"masks[{name!r}].shape", tuple(mask.shape), f"the shape {shape} of the parameter")

    def save(self, path: str | Path) -> None:
        """Write a safetensors file of boolean tensors with a digest, whole or not at all; the order of layers is kept.

        Raises:
            InputError: the file cannot be written there.
        """
        target = Path(path)
        output_directory("path", target.parent)
        write_tensors(target, self, {"order": "\n".join(self)})

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str = "cpu") -> "Masks":
        """Read at `path` what `save` wrote, or any safetensors file of boolean tensors, onto a device.

        A file that `save` wrote before it kept digests is read with the warning `OldForm`.

        Raises:
            InputError: the file is missing, damaged or something else, told in one line.
        """
        tensors, metadata = read_tensors(Path(path))
        if "order" in metadata and DIGEST not in metadata:
            told = f"masks file {str(path)!r} is of an old form without a digest: damage to it cannot be found"
            warnings.warn(told, OldForm, stacklevel=2)
        order = metadata.get("order", "").split("\n")
        return cls({name: tensors[name].to(device) for name in (order if set(order) == set(tensors) else tensors)})
