"""UnitSpeed: its step beside the formula, its decay, its memory, and the laws of its scale."""

import gc
import math
import weakref
from itertools import accumulate
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from commons import InputError
from sparse_training.masks import Masks, make_masks
from sparse_training.reparam import Sparse, UnitSpeed, sparsify, unit_speed
from sparse_training.reparam.speeds import speeds_of

LR, DECAY, BETA = 0.05, 0.02, 0.3
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda groups, lr=LR: torch.optim.SGD(groups, lr=lr, momentum=0.9),
    "adamw": lambda groups, lr=LR: torch.optim.AdamW(groups, lr=lr),
}


def network(beta: float | str = BETA, dtype: torch.dtype = torch.float64, seed: int = 0) -> Sparse:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).to(dtype)
    return sparsify(model, make_masks(model, 0.6, "random"), None if beta == "plain" else UnitSpeed(beta))


def mirrored(theta: float, step: float, beta: float) -> float:
    return beta / 2 * math.sinh(math.asinh(2 * theta / beta) + 2 * step / beta)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_are_those_of_the_formula(name: str) -> None:
    """The reference lets a plain optimizer make the step Δ on a copy of θ, and maps it weight by weight."""
    sparse, plain = network(), nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3)).double()
    plain.load_state_dict(sparse.state_dict())
    optimizer, other = OPTIMIZERS[name](sparse.parameter_groups(DECAY)), OPTIMIZERS[name](plain.parameters())
    for group in other.param_groups:
        group["weight_decay"] = 0.0
    sparse.attach(optimizer)
    kept = 1 - LR * DECAY * (10 if name == "sgd" else 1)  # coupled decay adds up to 1/(1 − μ) in the momentum
    biases = [name for name, _ in plain.named_parameters() if name.endswith("bias")]
    rng = torch.Generator().manual_seed(3)
    for _ in range(100):
        x = torch.randn(8, 5, generator=rng, dtype=torch.float64)
        for network_, stepper in ((sparse.model, optimizer), (plain, other)):
            stepper.zero_grad()
            network_(x).square().mean().backward()
        before = {name: value.clone() for name, value in plain.state_dict().items()}
        optimizer.step()
        other.step()
        with torch.no_grad():
            for name_, weight in plain.named_parameters():
                if name_ in biases:
                    weight.copy_(sparse.model.get_parameter(name_))
                    continue
                mask = sparse.masks[name_]
                for index in torch.nonzero(mask).tolist():
                    at = tuple(index)
                    theta, step = float(before[name_][at]), float(weight[at] - before[name_][at])
                    weight[at] = mirrored(kept * theta, step, BETA)
                weight[~mask] = 0.0
    for name_, weight in sparse.weights().items():
        torch.testing.assert_close(weight, plain.get_parameter(name_), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_and_counts_are_stepped_once(name: str) -> None:
    sparse, plain = network(beta=1e9), network("plain")
    for one in (sparse, plain):
        optimizer = OPTIMIZERS[name](one.parameter_groups(0.0))
        one.attach(optimizer)
        for _ in range(5):
            optimizer.zero_grad()
            one.model(torch.ones(4, 5, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
        assert all(p.grad is not None for p in one.model.parameters())
        assert {float(s["step"]) for s in optimizer.state.values() if "step" in s} <= {5.0}
    for (key, a), b in zip(sparse.state_dict().items(), plain.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=key)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_weight_without_gradient_decays_as_a_plain_one(name: str) -> None:
    ends = []
    for reparam in (None, UnitSpeed(0.1)):
        torch.manual_seed(0)
        model = nn.Linear(4, 4, bias=False).double()
        sparse = sparsify(model, make_masks(model, 0.5, "random"), reparam)
        start = sparse.weights()["weight"].clone()
        optimizer = OPTIMIZERS[name](sparse.parameter_groups(DECAY / 10), lr=1e-2)
        sparse.attach(optimizer)
        for _ in range(2000):
            model.weight.grad = torch.zeros_like(model.weight)
            optimizer.step()
        mask = sparse.masks["weight"]
        ends.append(float((sparse.weights()["weight"][mask] / start[mask]).log().mean()))
    assert ends[1] == pytest.approx(ends[0], rel=0.01)  # log of the decay; its start through the momentum differs


def test_scaling_a_layer_before_batch_norm_leaves_g_and_the_trajectory_unchanged() -> None:
    """With "rms", SGD without decay at ηc² takes the scaled layer along c times the same trajectory."""
    c, trajectories, speeds = 3.0, [], []
    for scale in (1.0, c):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8, eps=1e-300), nn.ReLU(), nn.Linear(8, 1))
        model = model.double()
        masks = Masks({"0.weight": torch.rand(8, 6) < 0.6})
        with torch.no_grad():
            model[0].weight.mul_(scale)
        sparse = sparsify(model, masks, UnitSpeed("rms"))
        first = [model[0].weight]
        rest = [p for p in model.parameters() if p is not model[0].weight]
        lr = 0.02
        optimizer = torch.optim.SGD([{"params": first, "lr": lr * scale**2}, {"params": rest}], lr=lr)
        sparse.attach(optimizer)
        speeds.append(sparse.reparam.speed(sparse.layers[0]))
        rng = torch.Generator().manual_seed(1)
        for _ in range(50):
            x = torch.randn(16, 6, generator=rng, dtype=torch.float64)
            optimizer.zero_grad()
            (model(x) - x[:, :1].abs()).square().mean().backward()
            optimizer.step()
        trajectories.append(sparse.weights()["0.weight"].clone())
    torch.testing.assert_close(speeds[1], speeds[0], rtol=1e-14, atol=0)
    torch.testing.assert_close(trajectories[1], c * trajectories[0], rtol=1e-9, atol=1e-12)


def test_one_layer_is_copied_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor as large as a weight outlives a step, and the copy of one layer is gone when the next is stepped."""
    sparse = network()
    optimizer = OPTIMIZERS["adamw"](sparse.parameter_groups(DECAY))
    sparse.attach(optimizer)
    copies: list[weakref.ref[Tensor]] = []

    def noted(self: UnitSpeed, layer: Any, before: Tensor, *rest: Any) -> None:
        assert all(copy() is None for copy in copies)
        copies.append(weakref.ref(before))

    monkeypatch.setattr(UnitSpeed, "after_layer", noted)
    sparse.model(torch.ones(2, 5, dtype=torch.float64)).sum().backward()
    optimizer.step()
    gc.collect()
    assert len(copies) == 2
    assert all(copy() is None for copy in copies)


def peak_of_a_step(reparam: UnitSpeed | None, name: str) -> tuple[int, int]:
    """Bytes that torch allocated at most, and at the end, in the second step of three layers of 600 x 600 weights."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(600, 600, bias=False) for _ in range(3)))
    sparse = sparsify(model, make_masks(model, 0.1, "random"), reparam)
    optimizer = OPTIMIZERS[name](sparse.parameter_groups(DECAY))
    sparse.attach(optimizer)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(2, 600)).square().mean().backward()
        with torch.profiler.profile(profile_memory=True) as profiler:
            optimizer.step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    levels = list(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())))
    return max(levels), levels[-1]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_peak_memory_is_that_of_plain_training_and_one_copy_of_a_layer(name: str) -> None:
    """The intermediate results of a block fit into what plain training needs anyway to hold a layer on its mask."""
    (plain, _), (own, end) = (peak_of_a_step(reparam, name) for reparam in (None, UnitSpeed(0.1)))
    assert own <= plain + 4 * 600 * 600
    assert end == 0


def test_beta_is_fixed_at_the_start_saved_and_left_out_of_the_plain_network() -> None:
    sparse = network("rms")
    layer = sparse.layers[0]
    active = layer.theta.detach()[layer.mask]
    assert sparse.reparam.beta_of(layer) == pytest.approx(float(active.square().mean().sqrt()))
    assert "0.weight_beta" in sparse.model.state_dict()
    assert "0.weight_beta" not in sparse.state_dict()
    assert list(sparse.merge().state_dict()) == list(sparse.state_dict())
    other = network("rms", seed=1)
    other.load_masks(sparse.masks)
    other.model.load_state_dict(sparse.model.state_dict())
    assert other.reparam.beta_of(other.layers[0]) == sparse.reparam.beta_of(layer)


@pytest.mark.parametrize("kind", [torch.channels_last, torch.contiguous_format])
def test_memory_format_and_blocks_change_nothing(kind: torch.memory_format, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = []
    for block in (7, unit_speed.BLOCK):
        monkeypatch.setattr(unit_speed, "BLOCK", block)
        torch.manual_seed(0)
        model = nn.Conv2d(3, 4, 3).to(memory_format=kind)
        sparse = sparsify(model, make_masks(model, 0.5, "random"), UnitSpeed(0.1))
        optimizer = torch.optim.SGD(sparse.parameter_groups(DECAY), lr=0.1, momentum=0.9)
        sparse.attach(optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(1, 3, 5, 5)).square().mean().backward()
            optimizer.step()
        ends.append(sparse.weights()["weight"].clone())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-8)


def test_what_it_cannot_work_with_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="beta"):
        UnitSpeed("mean")
    sparse = network()
    loss = sparse.model(torch.ones(2, 5, dtype=torch.float64)).sum()
    with pytest.raises(InputError, match=r"no weight decay of its own for 0\.weight; build it over"):
        sparse.attach(torch.optim.SGD(sparse.model.parameters(), lr=0.1, weight_decay=0.1))
    optimizer = torch.optim.SGD(sparse.parameter_groups(0.1), lr=0.1)
    loss.backward()
    optimizer.step()
    with pytest.raises(InputError, match="attached before its first step"):
        sparse.after_step(optimizer)
    with pytest.raises(InputError, match="state is known"):
        sparse.attach(torch.optim.LBFGS(sparse.model.parameters()))


def test_a_closure_is_called_once_before_the_step() -> None:
    ends = []
    for closed in (False, True):
        sparse = network()
        optimizer = OPTIMIZERS["sgd"](sparse.parameter_groups(0.1))
        sparse.attach(optimizer)
        calls = []

        def closure(
            sparse: Sparse = sparse, optimizer: torch.optim.Optimizer = optimizer, calls: list = calls
        ) -> Tensor:
            optimizer.zero_grad()
            loss = sparse.model(torch.ones(2, 5, dtype=torch.float64)).sum()
            loss.backward()
            calls.append(float(loss.detach()))
            return loss

        for _ in range(3):
            if closed:
                assert float(optimizer.step(closure).detach()) == calls[-1]
            else:
                closure()
                optimizer.step()
        assert len(calls) == 3
        ends.append(sparse.weights())
    assert all(torch.equal(weight, ends[1][name]) for name, weight in ends[0].items())


def test_a_step_that_fails_leaves_gradients_and_the_next_step_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = network()
    optimizer = OPTIMIZERS["sgd"](sparse.parameter_groups(0.0))
    sparse.attach(optimizer)
    sparse.model(torch.ones(2, 5, dtype=torch.float64)).sum().backward()
    with monkeypatch.context() as broken:
        broken.setattr(UnitSpeed, "after_layer", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
    assert all(p.grad is not None for p in sparse.model.parameters())
    optimizer.step()
    assert all(p.grad is not None for p in sparse.model.parameters())


def test_its_speed_is_one_at_zero_and_its_decay_is_over_the_speed() -> None:
    sparse = network()
    found = speeds_of(sparse, OPTIMIZERS["sgd"](sparse.parameter_groups(DECAY)))
    layer = sparse.layers[0]
    theta = layer.theta.detach()[layer.mask]
    speed = torch.sqrt(1 + 4 * theta**2 / BETA**2)
    torch.testing.assert_close(sparse.reparam.speed(layer), speed)
    line = found["0.weight"]
    assert line["mean"] == pytest.approx(float(speed.mean()))
    assert (line["beta"], line["strength"]) == (BETA, 2 / BETA)
    assert line["above"] == pytest.approx(float((2 * theta.abs() > BETA).double().mean()))
    assert line["decay"] == pytest.approx(float((DECAY / speed).mean()))
    assert line["low"] <= line["median"] <= line["high"]


@given(
    theta=st.floats(-10, 10, width=32),
    beta=st.floats(1e-4, 1e3),
    turn=st.floats(-60, 60),
)
def test_the_step_without_a_look_at_the_numbers_is_exact_to_a_rounding(theta: float, beta: float, turn: float) -> None:
    given_ = torch.tensor([theta, theta], dtype=torch.float64)
    step = torch.tensor([turn * beta / 2, 0.0], dtype=torch.float64)
    made = unit_speed.mirror_step_unseen(given_, step, torch.tensor(beta, dtype=torch.float64)).float()
    with mpmath.workdps(60):
        exact = (
            mpmath.mpf(beta) / 2 * mpmath.sinh(mpmath.asinh(2 * mpmath.mpf(theta) / beta) + 2 * step[0].item() / beta)
        )
        error = abs(mpmath.mpf(made[0].item()) - exact)
    largest = torch.tensor(max(abs(theta), float(abs(exact))), dtype=torch.float32)
    assert error <= float(torch.nextafter(largest, torch.tensor(torch.inf)) - largest)
    assert made[1].item() == theta
