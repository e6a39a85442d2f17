"""DistributedDataParallel and fully_shard over two processes of gloo against one process, in float64."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from commons import InputError
from sparse_training import SignIn, make_masks, sparsify
from sparse_training.methods import ACDC, GMP, SET, Method, RiGL
from sparse_training.reparam import REPARAMS, Reparam, Sparse
from sparse_training.reparam.speeds import speeds_of

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
STEPS, BATCH = 6, 8
REPARAMETRIZED: dict[str, Reparam | None] = {
    "none": None,
    "transport": SignIn(momentum="transport"),
    **{name: kind() for name, kind in REPARAMS.items()},
}
METHODS: dict[str, tuple[Method, Reparam | None]] = {
    "rigl": (RiGL(every=2), None),
    "rigl-sign-in": (RiGL(every=2), SignIn()),  # not for sharded factors
    "set": (SET(), SignIn()),
    "acdc": (ACDC(warm_up=0.2, phase=0.2, final=0.3), SignIn()),
    "gmp": (GMP(every=2), None),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()


def masks_of(model: nn.Module, method: Method | None = None) -> Any:
    return make_masks(model, 1.0 if method is not None and method.begins_dense else 0.5, "random")


def train(sparse: Sparse, forward: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    for step in steps:
        x = torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(step)).double()
        part = slice(BATCH * rank // world, BATCH * (rank + 1) // world)
        optimizer.zero_grad()
        cross_entropy(forward(x[part]), (torch.arange(BATCH) % 4)[part]).backward()
        optimizer.step()
        if step == 3:
            sparse.reset(optimizer)


def built(way: str, reparam: Reparam | None, method: Method | None = None) -> tuple[Sparse, nn.Module, Any]:
    """A network in one process, in DistributedDataParallel before or after sparsify, or sharded."""
    forward = model = network()
    if way == "after":
        forward = DistributedDataParallel(model)
        sparse = sparsify(forward, masks_of(model, method), reparam)
    else:
        sparse = sparsify(model, masks_of(model, method), reparam)
        if way == "before":
            forward = DistributedDataParallel(model)
        elif way == "sharded":
            for module in (model[0], model[2], model):
                fully_shard(module)
    optimizer = torch.optim.AdamW(sparse.parameter_groups(0.01), lr=0.05)
    sparse.attach(optimizer)
    if method is not None:
        method.attach(sparse, optimizer, STEPS, density=0.5, steps_per_epoch=2)
    return sparse, forward, optimizer


def ended(way: str, reparam: Reparam | None, method: Method | None = None) -> dict[str, Any]:
    sparse, forward, optimizer = built(way, reparam, method)
    train(sparse, forward, optimizer, range(STEPS))
    speeds = speeds_of(sparse, optimizer) if reparam is not None else {}
    masks = {name: mask.tolist() for name, mask in sparse.masks.items()}
    state = {name: value.tolist() for name, value in sparse.state_dict().items()}
    return {"state": state, "masks": masks, "speeds": speeds}


CASES: dict[str, tuple[Method | None, Reparam | None]] = {
    **{name: (None, reparam) for name, reparam in REPARAMETRIZED.items()},
    **METHODS,
}
OF_DDP = ("none", "transport", "unit-speed", "rigl-sign-in", "acdc")


def everything(ways: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for way in ways:
        names = OF_DDP if way in ("before", "after") else [name for name in CASES if name != "rigl-sign-in"]
        found |= {f"{way} {name}": ended(way, CASES[name][1], CASES[name][0]) for name in names}
    return found


def saved(folder: Path, steps: range, load: bool) -> dict[str, Any]:
    """Train a sharded network, from a checkpoint or the start, and write one; returns the state."""
    sparse, forward, optimizer = built("sharded", SignIn())
    if load:
        held = dict(zip(("model", "optimizer"), get_state_dict(sparse.model, optimizer), strict=True))
        dcp.load(held, checkpoint_id=str(folder))
        set_state_dict(sparse.model, optimizer, model_state_dict=held["model"], optim_state_dict=held["optimizer"])
    train(sparse, forward, optimizer, steps)
    held = dict(zip(("model", "optimizer"), get_state_dict(sparse.model, optimizer), strict=True))
    if not load:
        dcp.save(held, checkpoint_id=str(folder))
    return {name: value.tolist() for name, value in sparse.state_dict().items()}


def refused(call: Any) -> str:
    try:
        call()
    except InputError as error:
        return str(error)
    return ""


def processes(rank: int, world: int, port: int, folder: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(world))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    try:
        found = everything(("before", "after", "sharded")) if world > 1 else {}
        if world > 1:
            found["saved"] = saved(folder / "checkpoint", range(3), False)
            model = network()
            other = make_masks(model, 0.5, "random", seed=rank)
            found["differ"] = refused(lambda: sparsify(DistributedDataParallel(model), other))
            sparse, _, _ = built("sharded", SignIn())
            found["merge"] = refused(sparse.merge)
            found["gradient"] = refused(sparse.probe_gradients)
            found["late"] = refused(lambda: sparsify(fully_shard(network()), masks_of(network()), SignIn()))
            found["sharded"] = [type(layer.mask).__name__ for layer in sparse.layers]
        found["resumed"] = saved(folder / "checkpoint", range(3, STEPS), True)
        if rank == 0:
            (folder / f"of-{world}.json").write_text(json.dumps(found))
    finally:
        dist.destroy_process_group()


def close(state: dict[str, Any], expected: dict[str, Any]) -> bool:
    pairs = ((torch.tensor(state[name]), torch.tensor(value)) for name, value in expected.items())
    return list(state) == list(expected) and all(float((a - b).abs().max()) < 1e-10 for a, b in pairs)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What two processes found, and what one that went on from their checkpoint did."""
    folder = tmp_path_factory.mktemp("processes")
    for world in (2, 1):
        with __import__("socket").socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mp.spawn(processes, (world, port, folder), nprocs=world)
    return tuple(json.loads((folder / f"of-{world}.json").read_text()) for world in (2, 1))


@pytest.mark.parametrize("way", ["before", "after", "sharded"])
def test_several_processes_are_one(way: str, two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    names = [name for name in two[0] if name.startswith(f"{way} ")]
    assert len(names) == (len(OF_DDP) if way != "sharded" else len(CASES) - 1)
    for name in names:
        method, reparam = CASES[name.removeprefix(f"{way} ")]
        found, expected = two[0][name], ended("alone", reparam, method)
        assert found["masks"] == expected["masks"], name
        assert close(found["state"], expected["state"]), name
        for layer, speeds in expected["speeds"].items():
            known = {key: value for key, value in speeds.items() if value is not None}
            assert {key: found["speeds"][layer][key] for key in known} == pytest.approx(known, rel=1e-6), name


def test_a_sharded_training_goes_on_with_another_number_of_processes(two: tuple[dict, dict]) -> None:
    sparse, forward, optimizer = built("alone", SignIn())
    train(sparse, forward, optimizer, range(STEPS))
    expected: dict[str, Tensor] = {name: value.tolist() for name, value in sparse.state_dict().items()}
    assert close(two[0]["resumed"], expected)
    assert close(two[1]["resumed"], expected)


def test_masks_are_sharded_and_what_cannot_be_is_told(two: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert two[0]["sharded"] == ["DTensor", "DTensor"]
    assert "the masks of process 1 differ" in two[0]["differ"]
    assert "puts the parts together" in two[0]["merge"]
    assert "before fully_shard" in two[0]["late"]
    assert "gradient off the mask" in two[0]["gradient"]
