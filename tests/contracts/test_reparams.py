"""One contract for every reparametrization, with every method that it fits and several optimizers.

A reparametrization or a method that is registered is in the tables by itself.
"""

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training.masks import Masks, make_masks, prunable
from sparse_training.methods import METHODS, Method, Start, Training, unmet_need
from sparse_training.reparam import REPARAMS, SCALINGS, Factors, Reparam, Sparse, sparsify
from sparse_training.training.distributed import World
from sparse_training.training.state import Progress, pack, unpack

STEPS_PER_EPOCH = 3


class Cube(Factors):
    """θ = u³ + u: one factor, whose gradient at 0 no other factor makes 0."""

    def join(self, *factors: Tensor) -> Tensor:
        (u,) = factors
        return u * u.square() + u

    def split(self, theta: Tensor) -> tuple[Tensor, ...]:
        u = theta.clone()
        for _ in range(60):  # Newton's method for u³ + u = θ, whose derivative is at least 1
            u = u - (u * u.square() + u - theta) / (3 * u.square() + 1)
        return (u,)


@dataclass(frozen=True)
class OneFactor(Reparam):
    """A chart of one factor, θ = u³ + u."""

    name: ClassVar[str] = "one-factor"
    is_chart: ClassVar[bool] = True

    def factors(self, masks: list[Tensor]) -> list[Factors]:
        return [Cube(mask) for mask in masks]


class Triple(Factors):
    """θ = a b c."""

    def split(self, theta: Tensor) -> tuple[Tensor, ...]:
        root = theta.abs().pow(1 / 3).clamp(min=0.1)
        return root, root, theta / (root * root)


@dataclass(frozen=True)
class ThreeFactors(Reparam):
    """A chart of three factors."""

    name: ClassVar[str] = "three-factors"
    is_chart: ClassVar[bool] = True
    decay_share: ClassVar[float] = 1 / 3

    def factors(self, masks: list[Tensor]) -> list[Factors]:
        return [Triple(mask) for mask in masks]


EVERY_REPARAM = {"none": None, **REPARAMS, OneFactor.name: OneFactor, ThreeFactors.name: ThreeFactors}
OPTIMIZERS: dict[str, Callable[[list[dict[str, object]]], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9),
    "adam": lambda groups: torch.optim.Adam(groups, lr=5e-3),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=5e-3),
}
SHORT = {"every": 2, "rewind": 0.3, "begin_at": 0.1, "end_at": 0.9, "initial": -3.0}  # so that few steps are enough

SETTINGS = {"layer-rates": {"first": 2.0, "last": 0.5}}


def made(kind: type[Method]) -> Method:
    """The method with settings under which it acts within few steps."""
    own = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in SHORT.items() if name in own})


PAIRS = [
    (method, reparam)
    for method in METHODS
    for reparam, kind in EVERY_REPARAM.items()
    if not unmet_need(made(METHODS[method]), kind and kind())
]
PAIRED = pytest.mark.parametrize(("method", "reparam"), PAIRS, ids=map("-".join, PAIRS))
STEPPED = pytest.mark.parametrize("optimizer", OPTIMIZERS)


class Run:
    """A network of two layers in training, stepped as the loop steps it."""

    def __init__(
        self, method: str, reparam: str, optimizer: str, dtype: torch.dtype = torch.float32, scaling: str = ""
    ) -> None:
        self.method = made(METHODS[method])
        kind = EVERY_REPARAM[reparam]
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 4)).to(dtype)
        cycle, density = 4 * STEPS_PER_EPOCH, 0.5
        start = Start(
            density=density,
            steps_per_epoch=STEPS_PER_EPOCH,
            cycle_steps=cycle,
            total_steps=cycle * self.method.cycles(density),
            generator=torch.Generator().manual_seed(0),
            memory={},
            model=model,
            prunable=tuple(prunable(model)),
            reparam=kind and kind(),
            scaling=SCALINGS[scaling](**SETTINGS.get(scaling, {})) if scaling else None,
            start_masks=lambda: make_masks(model, density, "random", "erk"),
        )
        sparse = self.method.begin(start)
        stepper = OPTIMIZERS[optimizer](sparse.parameter_groups(1e-2))
        sparse.attach(stepper)
        terms = {name: getattr(start, name) for name in ("density", "steps_per_epoch", "cycle_steps", "total_steps")}
        self.training = Training(
            **terms,
            generator=start.generator,
            memory=start.memory,
            sparse=sparse,
            optimizer=stepper,
            dense_gradient=lambda x, y: sparse.dense_gradient(lambda: cross_entropy(model(x), y)),
        )

    def step(self) -> None:
        training = self.training
        if training.step % (2 * STEPS_PER_EPOCH) == 0:
            training.sparse.reset(training.optimizer)
        rng = torch.Generator().manual_seed(training.step)
        dtype = next(training.model.parameters()).dtype
        x, y = torch.randn(16, 6, generator=rng).to(dtype), torch.randint(0, 4, (16,), generator=rng)
        training.optimizer.zero_grad()
        cross_entropy(training.model(x), y).backward()
        if not self.method.on_gradient(training, (x, y)):
            training.optimizer.step()
        training.step += 1
        self.method.on_step(training)

    def finish(self) -> "Run":
        while self.training.step < self.training.total_steps:
            self.step()
        return self


def held(sparse: Sparse, optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, Tensor]]:
    """Every tensor that must be 0 off a mask, with the mask."""
    found = [(weight, sparse.masks[name]) for name, weight in sparse.weights().items()]
    for layer in sparse._layers:
        found += [(tensor.detach(), layer.mask) for tensor in (*layer.parameters, *layer.states(optimizer))]
    return found


@PAIRED
@STEPPED
def test_inactive_is_exactly_zero_after_every_step(method: str, reparam: str, optimizer: str) -> None:
    run = Run(method, reparam, optimizer)
    while run.training.step < run.training.total_steps:
        run.step()
        for tensor, mask in held(run.training.sparse, run.training.optimizer):
            assert not bool(tensor[~mask].any())
            assert bool(tensor.isfinite().all())
    assert all(bool(weight.any()) for weight in run.training.sparse.weights().values())


@PAIRED
@STEPPED
def test_a_training_that_goes_on_from_its_state_ends_bit_identical(method: str, reparam: str, optimizer: str) -> None:
    whole, parts = Run(method, reparam, optimizer), Run(method, reparam, optimizer)
    for _ in range(whole.training.total_steps // 2):
        whole.step()
    tensors, info = pack(whole.training, Progress(), World())
    tensors = {name: value.clone() for name, value in tensors.items()}
    unpack(parts.training, tensors, {**info, "step": whole.training.step}, World())
    states = [run.finish().training.model.state_dict() for run in (whole, parts)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert whole.training.sparse.masks == parts.training.sparse.masks


@PAIRED
def test_what_a_captured_step_reads_keeps_its_storage(method: str, reparam: str) -> None:
    whole, run = Run(method, reparam, "sgd"), Run(method, reparam, "sgd")
    for _ in range(whole.training.total_steps // 2):
        whole.step()
    training = run.training

    def places() -> list[int]:
        sparse = training.sparse
        read = [*training.model.state_dict().values(), *(layer.mask for layer in sparse.layers)]
        return [tensor.data_ptr() for tensor in read]

    before, supports = places(), [training.sparse.masks]
    tensors, info = pack(whole.training, Progress(), World())
    unpack(training, tensors, {**info, "step": whole.training.step}, World())
    while training.step < training.total_steps:
        run.step()
        training.sparse.reset(training.optimizer)
        supports.append(training.sparse.masks)
    assert places() == before
    changes = any(a != b for a, b in itertools.pairwise(supports))
    assert changes == (method != "static")


@PAIRED
def test_merging_is_exact_and_keeps_dtype_and_device(method: str, reparam: str) -> None:
    run = Run(method, reparam, "sgd", torch.float64).finish()
    sparse, x = run.training.sparse, torch.randn(5, 6, dtype=torch.float64)
    plain = sparse.merge()
    assert torch.equal(plain.eval()(x), sparse.model.eval()(x))
    assert {value.dtype for value in plain.state_dict().values()} <= {torch.float64, torch.int64}
    assert all(value.device == x.device for value in plain.state_dict().values())
    assert sorted(plain.state_dict()) == sorted(sparse.state_dict())
    assert not any(name.endswith(".mask") for name in plain.state_dict())


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("reparam", EVERY_REPARAM)
@STEPPED
def test_every_scaling_combines_with_every_reparametrization(scaling: str, reparam: str, optimizer: str) -> None:
    """Weights off the mask stay 0, a training goes on bit for bit, and learning rates are restored after each step."""
    method = "rigl" if ("rigl", reparam) in PAIRS else "static"
    whole, parts = (Run(method, reparam, optimizer, scaling=scaling) for _ in range(2))
    rates = [dict(group, params=None) for group in whole.training.optimizer.param_groups]
    for _ in range(whole.training.total_steps // 2):
        whole.step()
    tensors, info = pack(whole.training, Progress(), World())
    tensors = {name: value.clone() for name, value in tensors.items()}
    unpack(parts.training, tensors, {**info, "step": whole.training.step}, World())
    states = [run.finish().training.model.state_dict() for run in (whole, parts)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert [dict(group, params=None) for group in whole.training.optimizer.param_groups] == rates
    for tensor, mask in held(whole.training.sparse, whole.training.optimizer):
        assert not bool(tensor[~mask].any())


CHARTS = [name for name, kind in EVERY_REPARAM.items() if kind is not None and kind.is_chart]


def small(reparam: str, density: float = 0.5) -> Sparse:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    kind = EVERY_REPARAM[reparam]
    return sparsify(model, make_masks(model, density, "random"), kind and kind())


@pytest.mark.parametrize("reparam", EVERY_REPARAM)
def test_a_weight_is_written_to_one_rounding_and_what_grows_starts_at_zero(reparam: str) -> None:
    sparse, plain = small(reparam), small("none")
    for name, weight in plain.weights().items():
        torch.testing.assert_close(sparse.weights()[name], weight, rtol=4e-7, atol=1e-8)
    before = {name: weight.clone() for name, weight in sparse.weights().items()}
    old, new = sparse.masks, make_masks(sparse.merge(), 0.5, "random", seed=1)
    sparse.set_masks(new)
    for name, weight in sparse.weights().items():
        assert torch.equal(weight[old[name] & new[name]], before[name][old[name] & new[name]])
        assert not bool(weight[~(old[name] & new[name])].any())


@pytest.mark.parametrize("reparam", EVERY_REPARAM)
def test_a_declared_capability_is_what_happens(reparam: str) -> None:
    """`leaves_zero`: a weight that is freed at 0 moves under SGD, or stays there."""
    sparse = small(reparam)
    grown = Masks({name: torch.ones_like(mask) for name, mask in sparse.masks.items()})
    freed = {name: ~mask for name, mask in sparse.masks.items()}
    optimizer = torch.optim.SGD(sparse.parameter_groups(0.0), lr=0.1)
    sparse.attach(optimizer)
    sparse.set_masks(grown, optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        sparse.model(torch.randn(64, 6)).square().sum().backward()
        optimizer.step()
    moved = any(bool(weight[freed[name]].any()) for name, weight in sparse.weights().items())
    assert moved == (sparse.reparam is None or sparse.reparam.leaves_zero)
    assert sparse.reparametrized == (sparse.reparam is not None and sparse.reparam.is_chart)


@pytest.mark.parametrize("reparam", CHARTS)
def test_weight_decay_acts_on_theta_at_the_share_that_is_declared(reparam: str) -> None:
    """For a product of n factors a decay λ of each acts as nλ on θ, so n · decay_share is 1 unless it is a penalty."""
    sparse = small(reparam)
    count = len(sparse._layers[0].parameters)
    (share,) = {g["weight_decay"] for g in sparse.parameter_groups(1.0, vectors=False) if g["weight_decay"]}
    assert share == sparse.reparam.decay_share
    if type(sparse._layers[0].factors).join is Factors.join and reparam != "spred":
        assert share * count == pytest.approx(1)


@pytest.mark.parametrize("reparam", EVERY_REPARAM)
@STEPPED
def test_calling_after_step_beside_an_attached_optimizer_changes_no_bit(reparam: str, optimizer: str) -> None:
    ends = []
    layerwise = EVERY_REPARAM[reparam] is not None and EVERY_REPARAM[reparam].layerwise
    for way in ("attach", "both", "twice") if layerwise else ("call", "attach", "both", "twice"):
        sparse, rng = small(reparam), torch.Generator().manual_seed(2)
        stepper = OPTIMIZERS[optimizer](sparse.parameter_groups(1e-2))
        for _ in range(way != "call"):
            sparse.attach(stepper)
        for _ in range(6):
            stepper.zero_grad()
            sparse.model(torch.randn(16, 6, generator=rng)).square().mean().backward()
            stepper.step()
            for _ in range({"call": 1, "attach": 0, "both": 1, "twice": 2}[way]):
                sparse.after_step(stepper)
        ends.append(sparse.model.state_dict())
    for other in ends[1:]:
        assert all(torch.equal(value, other[name]) for name, value in ends[0].items())


@pytest.mark.parametrize("reparam", EVERY_REPARAM)
def test_a_copy_is_a_network_of_its_own(reparam: str) -> None:
    sparse = small(reparam)
    stepper = torch.optim.SGD(sparse.model.parameters(), lr=0.1)
    sparse.attach(stepper)
    twin = copy.deepcopy(sparse)
    before = {name: weight.clone() for name, weight in twin.weights().items()}
    sparse.model(torch.ones(2, 6)).sum().backward()
    stepper.step()
    assert all(torch.equal(weight, before[name]) for name, weight in twin.weights().items())
    other = torch.optim.SGD(twin.model.parameters(), lr=0.1)
    twin.attach(other)
    twin.model(torch.ones(2, 6)).sum().backward()
    other.step()
    for name, weight in sparse.weights().items():
        assert torch.equal(weight, twin.weights()[name])
