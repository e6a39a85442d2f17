"""Data parallel training over the processes of torchrun: gradients are averaged, and the others follow the first.

With one process every function returns what it was given.
"""

import gc
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from commons.checks import refuse
from sparse_training.masks import Masks
from sparse_training.reparam.sharding import average, check_equal


@dataclass(frozen=True)
class World:
    """Process `rank` of `size`; rank 0 is the one that writes."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def broadcast(self, value: Any) -> Any:
        """The first process's value, on every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self.size == 1:
            return [value]
        box: list[Any] = [None] * self.size
        dist.all_gather_object(box, value)
        return box

    def sum(self, value: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their mean over processes, in place and in one message."""
        average(tensors, self.size)

    def check_equal(self, masks: Masks) -> None:
        """Raise InputError unless every process holds the same masks."""
        if self.size > 1:
            check_equal(masks)


def announced(name: str, default: int) -> int:
    """The number that torchrun sets as an environment variable, or the default; InputError if it is no number."""
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        refuse(name, text, "a number, as torchrun sets it in the environment")
    return int(text)


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun announces in the environment, joined by nccl on cuda and by gloo elsewhere.

    Without torchrun it is this one process. A group that was made here is left at the end, because its threads must not
    outlive the interpreter.

    Raises:
        InputError: the environment does not announce a world that can be joined.
    """
    if announced("WORLD_SIZE", 1) == 1:
        yield World()
        return
    ours = not dist.is_initialized()
    if ours:
        try:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        except (RuntimeError, ValueError) as error:
            refuse("WORLD_SIZE", os.environ["WORLD_SIZE"], "a world to join", " ".join(str(error).split()))
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        if ours:
            gc.collect()  # a graph in a cycle that still holds the group would end its threads only at exit, and crash
            dist.destroy_process_group()


class SharedBatchNorm(nn.Module):
    """Batch normalization over the batches of all processes, on any device, so that their number changes no result.

    It holds the parameters and buffers of the layer that it replaces, under the same names.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, layer: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        self._parameters.update(layer._parameters)
        self._buffers.update(layer._buffers)
        self.eps, self.momentum = layer.eps, layer.momentum

    def forward(self, x: Tensor) -> Tensor:
        view = (1, -1, *[1] * (x.ndim - 2))
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = self._statistics(x.float())
        scale = torch.rsqrt(var + self.eps) * self.weight
        shift = self.bias - mean * scale
        return torch.addcmul(shift.view(view), x, scale.view(view)).to(x.dtype)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and biased variance (C,) over all processes; the running ones follow, the variance unbiased."""
        import torch.distributed.nn.functional as differentiable

        axes = [0, *range(2, x.ndim)]
        count = x.numel() // x.shape[1] * dist.get_world_size()
        mean = differentiable.all_reduce(x.sum(axes)) / count  # type: ignore[no-untyped-call]
        centred = x - mean.view(1, -1, *[1] * (x.ndim - 2))
        var = differentiable.all_reduce(centred.square().sum(axes)) / count  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.num_batches_tracked += 1
            rate = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean, rate)
            self.running_var.lerp_(var * count / (count - 1), rate)
        return mean, var
