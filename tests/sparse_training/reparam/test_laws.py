"""The laws of the reparametrizations on real layers: conserved quantities, decay, reset, metric and support."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.reparam import HAM, PILoT, Reparam, SignIn, Sparse, Spred, sparsify
from theory import metric

Batch = tuple[Tensor, Tensor]
REPARAMS = [None, SignIn(), SignIn(beta=(0.5, 2.0), momentum="transport"), HAM(), Spred(), PILoT()]
NAMED = pytest.mark.parametrize("reparam", REPARAMS, ids=lambda r: "plain" if r is None else repr(r))


def batch(dtype: torch.dtype = torch.float32, size: int = 8, channels: int = 1) -> Batch:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(32, channels, size, size, generator=rng, dtype=dtype)
    return x, torch.randint(0, 10, (32,), generator=rng)


def network(
    reparam: Reparam | None, name: str = "cnn", dtype: torch.dtype = torch.float32, density: float = 0.3
) -> Sparse:
    model = models.build(name, in_channels=1, image_size=8, seed=3).to(dtype)
    return sparsify(model, make_masks(model, density, "random", "erk"), reparam)


def loss_of(sparse: Sparse, data: Batch) -> Tensor:
    return cross_entropy(sparse.model(data[0]), data[1])


def factors(sparse: Sparse) -> dict[str, tuple[Tensor, Tensor]]:
    parameters = dict(sparse.model.named_parameters())
    found = {}
    for name in sparse.masks:
        owner, _, attribute = name.rpartition(".")
        stem = f"{owner}.parametrizations.{attribute}.original"
        found[name] = (parameters[f"{stem}0"].detach(), parameters[f"{stem}1"].detach())
    return found


def betas(sparse: Sparse) -> dict[str, Tensor]:
    return {name: m * m - w * w for name, (m, w) in factors(sparse).items()}


def step(sparse: Sparse, optimizer: torch.optim.Optimizer, data: Batch) -> None:
    optimizer.zero_grad()
    loss_of(sparse, data).backward()
    optimizer.step()
    sparse.after_step(optimizer)


@pytest.mark.parametrize("decay", [0.0, 0.05])
def test_a_step_shrinks_beta_by_its_law(decay: float) -> None:  # β ← β((1 − ηλ')² − η²g²) under SGD without momentum
    sparse, data, lr = network(SignIn(beta=0.7), dtype=torch.float64), batch(torch.float64), 0.5
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=lr, weight_decay=decay)
    for _ in range(5):
        before, g = betas(sparse), sparse.dense_gradient(lambda: loss_of(sparse, data))
        step(sparse, optimizer, data)
        for name, beta in betas(sparse).items():
            expected = before[name] * ((1 - lr * decay) ** 2 - (lr * g[name]) ** 2)
            torch.testing.assert_close(beta, expected, rtol=1e-12, atol=1e-15)


def test_matched_decay_acts_on_theta_as_on_a_plain_weight() -> None:
    lr, decay = 1e-3, 0.1
    kept = {}
    for reparam in (None, SignIn()):
        sparse = network(reparam, dtype=torch.float64)
        optimizer = torch.optim.SGD(sparse.parameter_groups(decay), lr=lr)
        start = {name: weight.clone() for name, weight in sparse.weights().items()}
        for _ in range(100):
            for parameter in sparse.model.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        ends = sparse.weights()
        kept[reparam] = [ends[name][mask] / start[name][mask] for name, mask in sparse.masks.items()]
    for plain, factored in zip(*kept.values(), strict=True):
        torch.testing.assert_close(plain, torch.full_like(plain, (1 - lr * decay) ** 100))
        torch.testing.assert_close(factored, torch.full_like(plain, (1 - lr * decay / 2) ** 200))


@pytest.mark.parametrize("beta", [1.0, 1e-3, (0.5, 2.0)])
def test_reset_keeps_theta_and_restores_the_orbit(beta: float | tuple[float, float]) -> None:
    reparam = SignIn(beta=beta)
    sparse, data = network(reparam), batch()
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-2)
    for _ in range(20):
        step(sparse, optimizer, data)
    before = {name: weight.clone() for name, weight in sparse.weights().items()}
    sparse.reset(optimizer)
    for (name, after), value in zip(sparse.weights().items(), reparam.betas(len(before)), strict=True):
        ulp = torch.nextafter(before[name].abs(), torch.tensor(math.inf)) - before[name].abs()
        assert bool(((after - before[name]).abs() <= ulp).all())
        (m, w), mask = factors(sparse)[name], sparse.masks[name]
        orbit = (m.double() ** 2 - w.double() ** 2)[mask]
        scale = (m.double() ** 2 + w.double() ** 2)[mask]
        assert float(((orbit - value).abs() / scale).max()) < 4 * torch.finfo(torch.float32).eps
        assert bool((m[mask] > 0).all())


NORMAL = st.floats(-1024, 1024, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)  # θ/m must not be subnormal


@given(theta=st.lists(NORMAL, min_size=1, max_size=20), beta=st.floats(2**-10, 2**10, width=32))
@settings(max_examples=50)
def test_any_weight_starts_on_its_orbit(theta: list[float], beta: float) -> None:
    layer = nn.Linear(len(theta), 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([theta]))
    sparse = sparsify(layer, make_masks(layer, 1.0, "magnitude"), SignIn(beta=beta))
    before = torch.tensor([theta])
    assert bool(((sparse.weights()["weight"] - before).abs() <= before.abs() * torch.finfo(torch.float32).eps).all())


def test_a_tiny_step_follows_the_metric() -> None:  # dθ = −√(4θ² + β²) ∇L
    beta, lr = 0.8, 1e-8
    sparse, data = network(SignIn(beta=beta), dtype=torch.float64), batch(torch.float64)
    theta = {name: weight.clone() for name, weight in sparse.weights().items()}
    g = sparse.dense_gradient(lambda: loss_of(sparse, data))
    step(sparse, torch.optim.SGD(sparse.model.parameters(), lr=lr), data)
    for name, after in sparse.weights().items():
        mask = sparse.masks[name]
        moved = ((after - theta[name]) / lr)[mask]
        torch.testing.assert_close(moved, (-metric(theta[name], beta, xp=torch) * g[name])[mask], rtol=1e-5, atol=1e-7)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=1e-2),
}


@NAMED
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_inactive_stays_exactly_zero(reparam: Reparam | None, optimizer: str) -> None:
    sparse, data = network(reparam), batch()
    stepper = OPTIMIZERS[optimizer](sparse.model.parameters())
    for index in range(50):
        step(sparse, stepper, data)
        if index % 20 == 19:
            sparse.reset(stepper)
    off = {name: ~mask for name, mask in sparse.masks.items()}
    held = [(sparse.weights()[name], where) for name, where in off.items()]
    held += [(sparse.state_dict()[name], where) for name, where in off.items()]
    for layer in sparse._layers:
        held += [(tensor, off[layer.name]) for tensor in (*layer.parameters, *layer.states(stepper))]
    assert len(held) >= 3 * len(off)
    for tensor, where in held:
        assert bool(tensor.isfinite().all())
        assert not bool(tensor[where].any())
        assert bool(tensor[~where].any())


@pytest.mark.parametrize(
    ("reparam", "name"),
    [
        (SignIn(), "resnet20"),
        pytest.param(SignIn(), "deit_small", marks=pytest.mark.slow),
        *((r, n) for r in REPARAMS for n in ("mlp", "cnn")),
    ],
    ids=str,
)
def test_merge_is_bit_identical(reparam: Reparam | None, name: str) -> None:
    sparse, data = network(reparam, name), batch()
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(1 if name == "deit_small" else 3):
        step(sparse, optimizer, data)
    plain, model = sparse.merge().eval(), sparse.model.eval()
    fresh = models.build(name, in_channels=1, image_size=8)
    assert torch.equal(plain(data[0]), model(data[0]))
    assert list(plain.state_dict()) == list(fresh.state_dict()) == list(sparse.state_dict())
    assert [type(m) for m in plain.modules()] == [type(m) for m in fresh.modules()]
    fresh.load_state_dict(sparse.state_dict())
    assert torch.equal(fresh.eval()(data[0]), model(data[0]))
    model(data[0])  # the network itself is still parametrized and works


def test_merged_copies_are_independent() -> None:
    sparse, data = network(SignIn()), batch()
    first = sparse.merge()
    before = {name: value.clone() for name, value in first.state_dict().items()}
    step(sparse, torch.optim.SGD(sparse.model.parameters(), lr=0.1), data)
    assert all(torch.equal(before[name], value) for name, value in first.state_dict().items())


def test_ham_follows_its_formula() -> None:
    sparse, data, lr = network(HAM(alpha=50.0, decay=0.01), dtype=torch.float64), batch(torch.float64), 0.1
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=lr)
    theta = {name: weight.clone() for name, weight in sparse.weights().items()}
    optimizer.zero_grad()
    loss_of(sparse, data).backward()
    g = {name: value.clone() for name, value in sparse.dense_gradient(lambda: loss_of(sparse, data)).items()}
    optimizer.step()
    sparse.after_step(optimizer)
    for name, after in sparse.weights().items():
        half = (theta[name] - lr * g[name]) * sparse.masks[name]
        expected = half * torch.exp(torch.clamp(lr * (-50.0 * half.sign() * g[name] - 0.01), -5, 5))
        torch.testing.assert_close(after, expected)


def momentum_buffers(sparse: Sparse, optimizer: torch.optim.Optimizer, key: str) -> list[Tensor]:
    return [optimizer.state[p][key].clone() for layer in sparse._layers for p in layer.parameters]


def test_reset_may_keep_or_zero_momentum() -> None:
    for momentum in ("keep", "zero"):
        sparse, data = network(SignIn(momentum=momentum)), batch()
        optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(3):
            step(sparse, optimizer, data)
        before = momentum_buffers(sparse, optimizer, "momentum_buffer")
        sparse.reset(optimizer)
        for old, new in zip(before, momentum_buffers(sparse, optimizer, "momentum_buffer"), strict=True):
            assert torch.equal(new, old if momentum == "keep" else torch.zeros_like(old))


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_transported_averages_are_those_of_the_new_factors(kind: str) -> None:
    """With factors that did not move while they were averaged, transport gives what the new factors would have had."""
    sparse, data = network(SignIn(beta=1.0, momentum="transport"), dtype=torch.float64), batch(torch.float64)
    with torch.no_grad():  # off the orbit, at the same θ
        for layer in sparse._layers:
            m, w = layer.parameters
            m.mul_(1.5)
            w.div_(1.5)
    twin = copy.deepcopy(sparse)
    twin.reset()
    optimizers = []
    for network_ in (sparse, twin):
        parameters = network_.model.parameters()
        optimizer = (
            torch.optim.SGD(parameters, lr=0.0, momentum=0.9) if kind == "sgd" else torch.optim.Adam(parameters, lr=0.0)
        )
        for _ in range(3):
            step(network_, optimizer, data)
        optimizers.append(optimizer)
    sparse.reset(optimizers[0])
    for key in ["momentum_buffer"] if kind == "sgd" else ["exp_avg", "exp_avg_sq"]:
        ours, theirs = (momentum_buffers(n, o, key) for n, o in zip((sparse, twin), optimizers, strict=True))
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-15)


def test_spred_decay_is_an_l1_penalty() -> None:  # ½(u² + v²) = |θ| on the balanced orbit
    sparse = network(Spred(), dtype=torch.float64)
    for name, (u, v) in factors(sparse).items():
        torch.testing.assert_close((u**2 + v**2) / 2, sparse.weights()[name].abs())
    (whole,) = {group["weight_decay"] for group in sparse.parameter_groups(0.1)}
    assert whole == 0.1


def test_pilot_turns_its_decay_up_while_many_weights_are_large() -> None:
    for threshold, factor in ((0.0, 2.0), (1e9, 0.5)):
        sparse = network(PILoT(strength=0.01, growth=2.0, threshold=threshold))
        sparse.reset()
        assert all(float(layer.factors.strength) == pytest.approx(0.01 * factor) for layer in sparse._layers)
