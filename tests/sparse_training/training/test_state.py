"""A state holds all that an optimizer keeps, numbers too, or says what it cannot hold."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from commons import InputError
from sparse_training.masks import make_masks
from sparse_training.methods import Training
from sparse_training.reparam import SignIn, sparsify
from sparse_training.training.distributed import World
from sparse_training.training.state import Progress, pack, unpack


class Counting(torch.optim.Optimizer):
    """Steps that shrink with a count a parameter, a plain number, and with one of the whole group."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {"lr": 0.1, "rounds": 0, "nested": {"not": "saved"}})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["rounds"] += 1
            for p in group["params"]:
                state = self.state[p]
                state["count"] = state.get("count", 0) + 1
                state["matrix"] = state.get("matrix", torch.zeros(2, 2)) + 1.0
                p -= group["lr"] / (state["count"] + group["rounds"] + state["matrix"].sum()) * p.grad


def training() -> Training:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    sparse = sparsify(model, make_masks(model, 0.5, "random"), SignIn())
    optimizer = Counting(sparse.model.parameters())
    sparse.attach(optimizer)
    return Training(
        density=0.5,
        steps_per_epoch=5,
        cycle_steps=10,
        total_steps=10,
        generator=torch.Generator(),
        memory={},
        sparse=sparse,
        optimizer=optimizer,
        dense_gradient=lambda x, y: {},
    )


def step(run: Training) -> None:
    run.optimizer.zero_grad()
    run.model(torch.ones(3, 4)).square().sum().backward()
    run.optimizer.step()
    run.step += 1


def test_numbers_of_an_optimizer_are_kept_through_a_restart() -> None:
    whole, parts = training(), training()
    for _ in range(4):
        step(whole)
    tensors, info = pack(whole, Progress(), World())
    tensors = {name: value.clone() for name, value in tensors.items()}
    unpack(parts, tensors, {**json.loads(json.dumps(info)), "step": 4}, World())
    for run in (whole, parts):
        for _ in range(4):
            step(run)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name])


def test_a_state_without_numbers_is_still_read() -> None:
    run = training()
    step(run)
    tensors, info = pack(run, Progress(), World())
    del info["optimizer"]
    unpack(training(), tensors, {**info, "step": 1}, World())


def test_what_cannot_be_saved_is_named() -> None:
    run = training()
    run.optimizer.state[next(run.model.parameters())]["count"] = [1, 2]
    with pytest.raises(InputError, match="Counting keeps 'count' as list, but only tensors and numbers are saved"):
        pack(run, Progress(), World())
