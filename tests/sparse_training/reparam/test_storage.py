"""Factors that are stored for active entries alone: the same bits as dense storage, a fraction of the numbers."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import models
from sparse_training.masks import Masks, make_masks
from sparse_training.methods import METHODS, Static, unmet_need
from sparse_training.reparam import PILoT, SignIn, Sparse, SparseOpt, Spred, TwoFactors, sparsify
from sparse_training.runs import Config, Run
from sparse_training.training import train

OPTIMIZERS: dict[str, Callable[[list[dict[str, object]]], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=1e-2),
}
KINDS: dict[str, Callable[[str], TwoFactors]] = {
    "sign-in": lambda storage: SignIn(beta=(0.5, 2.0), storage=storage),
    "zeroed": lambda storage: SignIn(momentum="zero", storage=storage),
    "transported": lambda storage: SignIn(momentum="transport", storage=storage),
    "pilot": lambda storage: PILoT(storage=storage),
    "spred": lambda storage: Spred(storage=storage),
}


class Training:
    """A small network with the factors of one kind, stepped on batches that depend on the step alone."""

    def __init__(self, kind: str, optimizer: str, storage: str, last: bool = False, scaled: bool = False) -> None:
        self.model = models.build("cnn", in_channels=3, seed=0)
        if last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        masks = make_masks(self.model, 0.1, "random", "erk", seed=0)
        self.sparse = sparsify(self.model, masks, KINDS[kind](storage), SparseOpt() if scaled else None)
        self.optimizer = OPTIMIZERS[optimizer](self.sparse.parameter_groups(1e-2))
        self.sparse.attach(self.optimizer)
        self.steps = 0

    def run(self, steps: int) -> "Training":
        for _ in range(steps):
            if self.steps in (2, 4):
                self.sparse.reset(self.optimizer)
            rng = torch.Generator().manual_seed(self.steps)
            x, y = torch.randn(8, 3, 9, 9, generator=rng), torch.randint(0, 10, (8,), generator=rng)
            self.optimizer.zero_grad()
            cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.steps += 1
        return self


def of_active(training: Training) -> list[Tensor]:
    """Weights, buffers, factors and the optimizer's state, active entries alone where they are those of a weight."""
    found = list(training.sparse.state_dict().values())
    for layer in training.sparse.layers:
        for tensor in (*layer.parameters, *layer.states(training.optimizer)):
            found.append(tensor.detach() if layer.compact else tensor.detach()[layer.mask])
    return found


def equal(a: Training, b: Training) -> bool:
    pairs = list(zip(of_active(a), of_active(b), strict=True))
    return all(one.shape == two.shape and torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_has_the_bits_of_dense_storage(kind: str, optimizer: str) -> None:
    dense, active = (Training(kind, optimizer, storage).run(5) for storage in ("dense", "active"))
    assert equal(dense, active)
    x = torch.randn(2, 3, 9, 9)
    assert torch.equal(dense.sparse.merge().eval()(x), active.sparse.merge().eval()(x))
    stored = sum(p.numel() for layer in active.sparse.layers for p in layer.parameters)
    assert stored == 2 * active.sparse.masks.active
    states = sum(v.numel() for layer in active.sparse.layers for v in layer.states(active.optimizer))
    assert states == {"sgd": 1, "adamw": 2}[optimizer] * stored


def test_memory_layout_and_scaling_change_nothing() -> None:
    for last, scaled in ((True, False), (False, True)):
        dense, active = (Training("sign-in", "sgd", storage, last, scaled).run(3) for storage in ("dense", "active"))
        assert equal(dense, active)
        strides = [[layer.theta.stride() for layer in t.sparse.layers] for t in (dense, active)]
        assert strides[0] == strides[1]


def test_speeds_are_those_of_dense_storage() -> None:
    dense, active = (Training("sign-in", "sgd", storage).run(3) for storage in ("dense", "active"))
    for one, two in zip(dense.sparse.layers, active.sparse.layers, strict=True):
        assert dense.sparse.reparam is not None
        assert torch.equal(dense.sparse.reparam.speed(one), dense.sparse.reparam.speed(two))
        assert dense.sparse.reparam.beta_of(one) == pytest.approx(dense.sparse.reparam.beta_of(two), rel=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_saved_state_goes_on_with_the_same_bits(optimizer: str) -> None:
    whole, begun, resumed = (Training("transported", optimizer, "active") for _ in range(3))
    whole.run(5)
    begun.run(3)
    resumed.model.load_state_dict(copy.deepcopy(begun.model.state_dict()))
    resumed.optimizer.load_state_dict(copy.deepcopy(begun.optimizer.state_dict()))
    resumed.steps = 3
    assert equal(resumed.run(2), whole)


def test_a_plain_state_is_loaded_and_dense_gradients_are_had() -> None:
    dense, active = (Training("sign-in", "sgd", storage).run(2) for storage in ("dense", "active"))
    active.sparse.load_state_dict(dense.sparse.state_dict())
    dense.sparse.load_state_dict(dense.sparse.state_dict())
    assert equal(dense, active)
    x, y = torch.randn(4, 3, 9, 9), torch.tensor([0, 1, 2, 3])
    found = [t.sparse.dense_gradient(lambda t=t: cross_entropy(t.model(x), y)) for t in (dense, active)]  # type: ignore[misc]
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_shared_weight_has_one_pair_of_vectors() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(6, 6), nn.Linear(6, 6)
            self.down.weight = self.up.weight

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.down(self.up(x).relu())
            return out

    outputs = []
    for storage in ("dense", "active"):
        torch.manual_seed(0)
        model = Tied()
        sparse = sparsify(model, make_masks(model, 0.5, "random", seed=0), SignIn(storage=storage))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sparse.attach(optimizer)
        model(torch.ones(2, 6)).square().sum().backward()
        optimizer.step()
        outputs.append(model(torch.ones(2, 6)))
    assert torch.equal(*outputs)


def refused(sparse: Sparse, masks: Masks) -> None:
    with pytest.raises(InputError, match=r"'another support of fc.weight' is not the one that storage='active' keeps"):
        sparse.set_masks(masks)
    with pytest.raises(InputError, match="storage='dense' can change it"):
        sparse.load_masks(masks)


def test_a_support_that_changes_is_refused() -> None:
    sparse = Training("sign-in", "sgd", "active").sparse
    sparse.set_masks(sparse.masks)
    other = sparse.masks
    refused(sparse, Masks({**other, "fc.weight": ~other["fc.weight"]}))
    for name, method in METHODS.items():
        need = unmet_need(method(), SignIn(storage="active"))
        assert bool(need) == (name != Static.name)
        assert not unmet_need(method(), SignIn()) or method.owns_weight
    with pytest.raises(InputError, match="rigl changes the support, which sign-in with storage='active' keeps"):
        Config().with_set(["method=rigl", "reparam=sign-in", "reparam.storage=active"])


def test_optimizers_that_mix_entries_are_refused() -> None:
    model = nn.Linear(4, 4, bias=False)
    sparse = sparsify(model, make_masks(model, 0.5, "random"), SignIn(storage="active"))
    with pytest.raises(InputError, match="one that treats each entry by itself, as storage='active' asks"):
        sparse.attach(torch.optim.Adafactor(model.parameters()))
    with pytest.raises(InputError, match="one whose state is known, as storage='active' asks"):
        sparse.attach(torch.optim.LBFGS(model.parameters()))
    with pytest.raises(InputError, match="storage='sparse' is not one of dense, active"):
        SignIn(storage="sparse")


def test_a_run_has_the_networks_of_dense_storage(tmp_path: Path) -> None:
    common = ["mask.density=0.1", "reparam=sign-in", "epochs=2", "reset.every=1", "engine.device=cpu"]
    for storage in ("dense", "active"):
        config = Config.preset("digits-mlp").with_set([*common, f"reparam.storage={storage}"])
        train(config, tmp_path / storage)
    dense, active = Run(tmp_path / "dense").network(), Run(tmp_path / "active").network()
    assert all(torch.equal(value, active.state[name]) for name, value in dense.state.items())
    assert dense.masks == active.masks
