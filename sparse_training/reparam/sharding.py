"""Networks in several processes: masks sharded as `fully_shard` shards their weights, and what wraps a network."""

import hashlib
import sys
from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from commons.checks import InputError


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds a part of it."""
    module = sys.modules.get("torch.distributed.tensor")  # not imported here, which takes time: nothing is sharded then
    return module is not None and isinstance(tensor, module.DTensor)


def local(tensor: Tensor) -> Tensor:
    """The part of this process, which shares its memory with the tensor; a tensor that is not sharded itself."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


@torch.no_grad()
def whole(tensor: Tensor) -> Tensor:
    """All parts put together, in every process, each of which must ask; a tensor that is not sharded itself."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def sharded_like(tensor: Tensor, model: Tensor) -> Tensor:
    """A whole tensor sharded as `model` is, from what this process has; one that is sharded already itself."""
    if not is_sharded(model) or is_sharded(tensor):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, model.device_mesh, model.placements, src_data_rank=None)  # type: ignore[attr-defined]


def average(tensors: Iterable[Tensor], size: int) -> None:
    """Replace tensors by their mean over the `size` processes of the default group, in place and in one message."""
    held = list(tensors) if size > 1 else []
    if not held:
        return
    flat = torch.cat([tensor.flatten() for tensor in held])
    dist.all_reduce(flat)
    flat /= size
    for tensor, part in zip(held, torch.split(flat, [tensor.numel() for tensor in held]), strict=True):
        tensor.copy_(part.view_as(tensor))


def processes() -> int:
    """How many processes the default group has; 1 where there is none."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def check_equal(masks: Mapping[str, Tensor]) -> None:
    """Raise InputError unless all processes of the default group, each of which must ask, have the same whole masks."""
    digest = hashlib.sha256()
    for name, mask in masks.items():
        digest.update(name.encode() + mask.cpu().contiguous().numpy().tobytes())
    found: list[str | None] = [None] * dist.get_world_size()
    dist.all_gather_object(found, digest.hexdigest())
    other = next((rank for rank, value in enumerate(found) if value != found[0]), None)
    if other is not None:
        raise InputError(f"the masks of process {other} differ from those of process 0")


def wrap_again(model: DistributedDataParallel) -> None:
    """Let DistributedDataParallel look for the parameters of its network anew, as factors took the place of some."""
    model.__init__(  # type: ignore[misc]
        model.module,
        device_ids=model.device_ids,
        output_device=model.output_device,
        dim=model.dim,
        broadcast_buffers=model.broadcast_buffers,
        process_group=model.process_group,
        find_unused_parameters=model.find_unused_parameters,
        gradient_as_bucket_view=model.gradient_as_bucket_view,
        static_graph=model.static_graph,
    )
