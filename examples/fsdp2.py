"""Sign-In under FSDP2: masks and factors sharded over processes, checkpointed, and resumed by one process.

It starts two processes of gloo on this machine; under torchrun, call `work` with the rank and the world that it gives.
"""

import tempfile

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

from sparse_training import SignIn, make_masks, sparsify


def work(rank: int, world: int, folder: str, steps: range) -> None:
    meeting = f"file://{folder}/{world}-processes"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
    sparse = sparsify(model, make_masks(model, 0.2, "random"), SignIn())  # before fully_shard
    for module in (model[0], model[2], model):
        fully_shard(module)
    optimizer = torch.optim.AdamW(sparse.parameter_groups(weight_decay=0.01), lr=1e-2)
    sparse.attach(optimizer)  # checks that all processes have the same masks, and shards them
    if steps.start:
        held = dict(zip(("model", "optimizer"), get_state_dict(model, optimizer), strict=True))
        dcp.load(held, checkpoint_id=f"{folder}/{steps.start}")
        set_state_dict(model, optimizer, model_state_dict=held["model"], optim_state_dict=held["optimizer"])
    for step in steps:
        x = torch.randn(64, 32, generator=torch.Generator().manual_seed(step))
        x = x[rank::world]
        optimizer.zero_grad()
        loss = cross_entropy(model(x), x[:, :10].argmax(1))
        loss.backward()
        optimizer.step()
    held = dict(zip(("model", "optimizer"), get_state_dict(model, optimizer), strict=True))
    dcp.save(held, checkpoint_id=f"{folder}/{steps.stop}")
    density = sparse.masks.density  # every process asks, as parts are put together
    if rank == 0:
        print(f"{world} processes, step {steps.stop}: loss {float(loss.detach()):.3f}, density {density:.3f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (2, folder, range(100)), nprocs=2)
        mp.spawn(work, (1, folder, range(100, 150)), nprocs=1)
