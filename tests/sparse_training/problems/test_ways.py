"""A way takes the steps that the engine's reparametrization takes with torch's optimizers, network by network."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sparse_training import HAM, Masks, SignIn, sparsify
from sparse_training.problems.ways import HAMWay, Layer, PlainWay, PowerWay, SignInWay, UnitSpeedWay, Way
from sparse_training.reparam import Reparam

WAYS: list[Way] = [PlainWay(2.0), SignInWay(0.5), SignInWay(0.5, every=0), UnitSpeedWay(0.5), HAMWay(3.0), PowerWay()]
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def slope(theta: torch.Tensor) -> torch.Tensor:
    """The gradient of a loss with no symmetry."""
    return torch.cos(3 * theta) + theta - 0.3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    ("way", "reparam"), [(PlainWay(), None), (SignInWay(0.5, every=3), SignIn(0.5)), (HAMWay(3.0), HAM(3.0, decay=0.0))]
)
def test_a_way_steps_as_the_engine_does(way: Way, reparam: Reparam | None, optimizer: str) -> None:
    theta = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = nn.Linear(7, 5, bias=False).double()
    model.load_state_dict({"weight": theta})
    sparse = sparsify(model, Masks({"weight": torch.ones(5, 7, dtype=torch.bool)}), reparam)
    engine = OPTIMIZERS[optimizer](model.parameters(), lr=0.05)
    layer = Layer(way, theta, optimizer)
    for step in range(1, 11):
        engine.zero_grad()
        weight = model.weight
        (weight * slope(weight.detach())).sum().backward()
        engine.step()
        sparse.after_step(engine)
        if step % 3 == 0:
            sparse.reset(engine)
        layer.step(slope(layer.theta), torch.tensor(0.05, dtype=torch.float64))
        torch.testing.assert_close(layer.theta, sparse.weights()["weight"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_a_small_step_is_as_fast_as_the_way_says(way: Way) -> None:
    theta = torch.tensor([-1.3, -0.2, 0.4, 2.0], dtype=torch.float64)
    layer = Layer(way, theta)
    speed, lr = way.speed(layer.latents), torch.tensor(1e-7, dtype=torch.float64)
    layer.step(slope(theta), lr)
    torch.testing.assert_close(layer.theta - theta, -lr * speed * slope(theta), rtol=1e-5, atol=0)


@pytest.mark.parametrize("way", WAYS, ids=repr)
def test_every_way_writes_what_it_reads_and_decays_alike(way: Way) -> None:
    theta = torch.tensor([-1.3, -0.2, 0.4, 2.0], dtype=torch.float64)
    torch.testing.assert_close(way.read(way.write(theta)), theta, rtol=1e-14, atol=0)
    if not isinstance(way, PowerWay):  # whose latent is another power of θ
        layer = Layer(way, theta, decay=0.01)
        layer.step(torch.zeros_like(theta), torch.tensor(1e-3, dtype=torch.float64))
        torch.testing.assert_close(layer.theta, theta * (1 - 1e-5), rtol=1e-9, atol=0)


def test_a_network_of_a_batch_steps_as_the_network_alone() -> None:
    theta = torch.randn(4, 3, 21, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lr = torch.linspace(0.01, 0.1, 21, dtype=torch.float64)
    for way in WAYS:
        together, alone = Layer(way, theta), Layer(way, theta[..., 20:].contiguous())
        for _ in range(12):
            together.step(slope(together.theta), lr)
            alone.step(slope(alone.theta), lr[20:])
        assert torch.equal(together.theta[..., 20:], alone.theta), way


def test_unit_speed_is_mirror_descent_in_the_hypentropy() -> None:
    theta = torch.linspace(-3, 3, 41, dtype=torch.float64)
    for beta, rate in ((0.1, 0.5), (1.0, 1e-9), (4.0, 3.0)):
        layer, lr = Layer(UnitSpeedWay(beta), theta), torch.tensor(rate, dtype=torch.float64)
        mirror = torch.asinh(2 * theta / beta) - 2 / beta * lr * slope(theta)
        expected = beta / 2 * torch.sinh(mirror)
        layer.step(slope(theta), lr)
        size = torch.maximum(theta.abs(), (expected - theta).abs())
        assert ((layer.theta - expected).abs() <= 1e-11 * size).all()  # θ cosh s cancels by up to 2|θ|/β
