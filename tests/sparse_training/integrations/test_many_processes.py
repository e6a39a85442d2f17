"""DistributedDataParallel and fully_shard over two and four processes of gloo against one process, in float64.

The rows of the weights do not divide evenly among four processes.
"""

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
from sparse_training.sharpness import HessianOperator, lanczos

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
STEPS, BATCH = 6, 8
WORLDS = (4, 2, 1)  # the largest writes the checkpoint from which all go on
MOST = max(WORLDS)
REPARAMETRIZED: dict[str, Reparam | None] = {
    "none": None,
    "transport": SignIn(momentum="transport"),
    **{name: kind() for name, kind in REPARAMS.items()},
}
METHODS: dict[str, tuple[Method, Reparam | None]] = {
    "rigl": (RiGL(every=2), None),
    "rigl-sign-in": (RiGL(every=2), SignIn()),
    "set": (SET(), SignIn()),
    "acdc": (ACDC(warm_up=0.2, phase=0.2, final=0.3), SignIn()),
    "gmp": (GMP(every=2), None),
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 5)).double()


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
FEW = ("none", "transport", "unit-speed", "rigl-sign-in", "acdc")


def everything(world: int) -> dict[str, Any]:
    found = {}
    for way in ("before", "after", "sharded"):
        found |= {f"{way} {name}": ended(way, CASES[name][1], CASES[name][0]) for name in cases_of(way, world)}
    return found


def cases_of(way: str, world: int) -> list[str]:
    return list(CASES) if way == "sharded" and world == MOST else [*FEW]


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


def measured() -> dict[str, Any]:
    """Masks of scores on one batch that every process has, and λ_max of a network that was trained in parts."""
    x = torch.randn(BATCH, 6, generator=torch.Generator().manual_seed(9)).double()
    batch = x, torch.arange(BATCH) % 4
    scored = {score: make_masks(network(), 0.5, score, batch=batch) for score in ("snip", "grasp", "synflow")}
    group = dist.group.WORLD if dist.is_initialized() else None
    sparse, forward, optimizer = built("alone" if group is None else "sharded", SignIn())
    train(sparse, forward, optimizer, range(STEPS))
    plain, masks = network(), sparse.masks
    plain.load_state_dict(sparse.state_dict())
    value = lanczos(HessianOperator(plain, cross_entropy, [batch], masks, group=group), tol=1e-10).value
    return {
        "scored": {score: {n: m.tolist() for n, m in found.items()} for score, found in scored.items()},
        "lambda_max": value,
    }


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
        found = everything(world) if world > 1 else {}
        if world > 1:
            found["measured"] = measured()
        if world == MOST:
            found["saved"] = saved(folder / "checkpoint", range(3), False)
            model = network()
            other = make_masks(model, 0.5, "random", seed=rank)
            found["differ"] = refused(lambda: sparsify(DistributedDataParallel(model), other))
            sparse, _, _ = built("sharded", SignIn())
            found["merge"] = refused(sparse.merge)
            found["gradient"] = refused(lambda: sparse.dense_gradient(lambda: torch.zeros(())))
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
def of(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What four, two and one processes found, by their number; all went on from the checkpoint of the four."""
    folder = tmp_path_factory.mktemp("processes")
    for world in WORLDS:
        with __import__("socket").socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        mp.spawn(processes, (world, port, folder), nprocs=world)
    return {world: json.loads((folder / f"of-{world}.json").read_text()) for world in WORLDS}


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("way", ["before", "after", "sharded"])
def test_several_processes_are_one(way: str, world: int, of: dict[int, dict[str, Any]]) -> None:
    for case in cases_of(way, world):
        name, (method, reparam) = f"{way} {case}", CASES[case]
        found, expected = of[world][name], ended("alone", reparam, method)
        assert found["masks"] == expected["masks"], name
        assert close(found["state"], expected["state"]), name
        for layer, speeds in expected["speeds"].items():
            known = {key: value for key, value in speeds.items() if value is not None}
            assert {key: found["speeds"][layer][key] for key in known} == pytest.approx(known, rel=1e-6), name


def test_a_sharded_training_goes_on_with_another_number_of_processes(of: dict[int, dict[str, Any]]) -> None:
    sparse, forward, optimizer = built("alone", SignIn())
    train(sparse, forward, optimizer, range(STEPS))
    expected: dict[str, Tensor] = {name: value.tolist() for name, value in sparse.state_dict().items()}
    for world in WORLDS:
        assert close(of[world]["resumed"], expected), world


def test_scores_and_the_largest_eigenvalue_are_those_of_one_process(of: dict[int, dict[str, Any]]) -> None:
    expected = measured()
    for world in (2, 4):
        assert of[world]["measured"]["scored"] == expected["scored"]
        assert of[world]["measured"]["lambda_max"] == pytest.approx(expected["lambda_max"], rel=1e-9)


def test_masks_are_sharded_and_what_cannot_be_is_told(of: dict[int, dict[str, Any]]) -> None:
    assert of[MOST]["sharded"] == ["DTensor", "DTensor"]
    assert "the masks of process 1 differ" in of[MOST]["differ"]
    assert "puts the parts together" in of[MOST]["merge"]
    assert "before fully_shard" in of[MOST]["late"]
    assert "gradient_at_hand after them" in of[MOST]["gradient"]
