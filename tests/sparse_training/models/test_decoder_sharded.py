"""The transformer for tokens, sharded by fully_shard over two processes of gloo, trains as in one process."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.fsdp import fully_shard

from sparse_training import SignIn, make_masks, sparsify
from sparse_training.losses import cross_entropy
from sparse_training.models import GPT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
STEPS, BATCH = 4, 4
KINDS = {"untied": False, "tied": True}


def trained(tied: bool, rank: int = 0, world: int = 1) -> dict[str, Any]:
    """The factors and other parameters after some steps of AdamW with a reset; each process has a part of the batch."""
    torch.manual_seed(0)
    model = GPT(width=16, depth=2, heads=2, num_classes=19, tied=tied).double()
    sparse = sparsify(model, make_masks(model, 0.3, "random", include=["blocks.*"]), SignIn(momentum="transport"))
    if world > 1:
        for module in (*model.blocks, model):
            fully_shard(module)
    optimizer = torch.optim.AdamW(sparse.parameter_groups(0.1, vectors=False), lr=0.01)
    sparse.attach(optimizer)
    part = slice(BATCH * rank // world, BATCH * (rank + 1) // world)
    for step in range(STEPS):
        tokens = torch.randint(19, (BATCH, 9), generator=torch.Generator().manual_seed(step))[part]
        optimizer.zero_grad()
        cross_entropy(model(tokens[:, :-1]), tokens[:, 1:]).backward()
        optimizer.step()
        if step == 1:
            sparse.reset(optimizer)
    return {name: value.tolist() for name, value in sparse.state_dict().items()}


def process(rank: int, port: int, file: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        found = {kind: trained(tied, rank, 2) for kind, tied in KINDS.items()}
        if rank == 0:
            file.write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


def test_two_shards_are_one_network(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, (port, tmp_path / "found.json"), nprocs=2)
    found = json.loads((tmp_path / "found.json").read_text())
    for kind, tied in KINDS.items():
        expected = trained(tied)
        assert found[kind].keys() == expected.keys()
        for name, value in expected.items():
            own, other = torch.tensor(found[kind][name]).double(), torch.tensor(value).double()
            torch.testing.assert_close(own, other, rtol=0, atol=1e-9, msg=f"{kind}: {name}")
