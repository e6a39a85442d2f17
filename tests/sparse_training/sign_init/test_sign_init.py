"""Every sign initialization sets nothing but signs, repeats itself, says what it costs and keeps the network."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from commons import InputError
from sparse_training import make_masks
from sparse_training.masks import Masks
from sparse_training.sign_init import SIGN_INITS, Found, find_signs, set_signs
from sparse_training.sign_init.even import fit


def network(outputs: int = 1, inputs: int = 6, hidden: int = 5) -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Linear(inputs, 7), nn.ReLU(), nn.Linear(7, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, outputs))
    return nn.Sequential(*layers).double()


def samples(outputs: int) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(1)
    x = torch.randn(128, 6, generator=stream, dtype=torch.float64)
    if outputs > 1:
        return x, torch.randint(0, outputs, (128,), generator=stream)
    return x, (x[:, :1].relu() - x[:, 1:2].relu()).double()


def find(method: str, outputs: int, model: nn.Module | None = None) -> tuple[nn.Module, Masks, Found]:
    model = model or network(outputs)
    masks = make_masks(model, 0.5, "random", "uniform")
    loss = mse_loss if outputs == 1 else cross_entropy
    return model, masks, find_signs(model, masks, method, samples(outputs), loss=loss, seed=3)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("method", list(SIGN_INITS))
def test_nothing_but_signs_changes_and_the_same_seed_finds_the_same(method: str, outputs: int) -> None:
    model = network(outputs)
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    _, masks, found = find(method, outputs, model)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert list(found.signs) == list(masks)
    for name, mask in masks.items():
        assert (found.signs[name][mask].abs() == 1).all()
        assert (found.signs[name][~mask] == 0).all()
    set_signs(model, found.signs)
    for name, value in model.state_dict().items():
        assert torch.equal(value.abs(), before[name].abs())
        active = masks[name] if name in masks else torch.zeros_like(value, dtype=torch.bool)
        assert torch.equal(value[~active], before[name][~active])
        assert torch.equal(value[active].sign(), found.signs[name][active] if name in masks else value[active])
    again = find(method, outputs)[2]
    assert again.passes == found.passes
    assert all(torch.equal(sign, again.signs[name]) for name, sign in found.signs.items())


@pytest.mark.parametrize("method", list(SIGN_INITS))
def test_the_cost_is_at_least_what_the_network_sees(method: str) -> None:
    class Counting(nn.Sequential):
        seen = 0

        def forward(self, x: Tensor) -> Tensor:
            Counting.seen += len(x)
            return super().forward(x)

    _, _, found = find(method, 1, Counting(*network(1)))
    assert 0 < Counting.seen <= found.passes


@pytest.mark.parametrize("method", ["even", "even-both"])
def test_the_theorem_s_signs_are_found_whatever_the_half_plane(method: str) -> None:
    stream = torch.Generator().manual_seed(5)
    k, s = 6, 3
    v, w = (torch.randn(k, s, generator=stream, dtype=torch.float64) for _ in range(2))
    v = v.sign() * (v.abs() + 0.3)
    v[0] = -w[0]  # exactly opposite, which no flow of theory 5.4 leaves
    b = torch.tensor([1.0, -1, 2, -2, 1, -1], dtype=torch.float64)
    x = torch.randn(40_000, k * s, generator=stream, dtype=torch.float64)
    y = (x @ torch.block_diag(*v).T).relu() @ b  # type: ignore[no-untyped-call]
    model = nn.Sequential(nn.Linear(k * s, k, bias=False), nn.ReLU(), nn.Linear(k, 1, bias=False)).double()
    whole = torch.block_diag(*w)  # type: ignore[no-untyped-call]
    model.load_state_dict({"0.weight": whole, "2.weight": -b[None].abs()})
    masks = Masks({"0.weight": whole != 0, "2.weight": torch.ones(1, k, dtype=torch.bool)})
    found = find_signs(model, masks, method, (x, y[:, None]), loss=mse_loss)
    assert torch.equal(found.signs["2.weight"][0], b.sign())
    expected = v if method == "even-both" else w
    assert torch.equal(found.signs["0.weight"][whole != 0], expected.sign().flatten())
    assert found.passes == {"even": 40_000, "even-both": 80_000}[method]


def test_mistakes_are_told_in_one_line() -> None:
    model = network()
    masks, (x, y) = make_masks(model, 0.5, "random", "uniform"), samples(1)
    for method, batch, says in [
        ("evn", (x, y), "did you mean even"),
        ("even", (x, y[:3]), "equally many samples"),
        ("even", (x[:4], y[:4]), "more than 8"),
    ]:
        with pytest.raises(InputError, match=says):
            find_signs(model, masks, method, batch, loss=mse_loss)
    with pytest.raises(InputError, match="two masked layers"):
        find_signs(model, Masks({"0.weight": masks["0.weight"]}), "even", (x, y), loss=mse_loss)


def test_signs_are_set_exactly_also_of_zero() -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.0, -1e-40, math.pi]]))
    set_signs(model, {"weight": torch.tensor([[-1.0, 1.0, 0.0]])})
    assert model.weight[0, 0] == 0
    assert model.weight[0, 1] > 0
    assert model.weight[0, 2] == torch.tensor(math.pi)


def test_bottom_up_explains_more_of_the_targets_than_the_drawn_signs() -> None:
    gains = []
    for seed in range(6):
        stream = torch.Generator().manual_seed(seed)
        masks = {"0.weight": torch.rand(8, 12, generator=stream).argsort(1) < 3, "2.weight": torch.ones(1, 8) > 0}
        teacher, student = (
            {name: torch.randn(m.shape, generator=stream) * m for name, m in masks.items()} for _ in range(2)
        )
        x = torch.randn(600, 12, generator=stream)
        y = (x @ teacher["0.weight"].T).relu() @ teacher["2.weight"].T
        model = nn.Sequential(nn.Linear(12, 8, bias=False), nn.ReLU(), nn.Linear(8, 1, bias=False))

        def left(weight: Tensor, x: Tensor = x, y: Tensor = y) -> float:
            features = (x @ weight.T).relu()
            return float((y - features @ fit(features, y)).square().mean() / y.var())

        model.load_state_dict(student)
        found = find_signs(model, Masks(masks), "bottom-up", (x, y), loss=mse_loss)
        set_signs(model, found.signs)
        gains.append(left(student["0.weight"]) - left(model[0].weight.detach()))
    assert sum(gains) / len(gains) > 0.15


def test_chains_that_a_method_cannot_read_are_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 1))
    masks = make_masks(model, 1.0, "random")
    x = torch.randn(50, 6)
    with pytest.raises(InputError, match="linear layers with ReLU"):
        find_signs(model, masks, "bottom-up", (x, x[:, :1]), loss=mse_loss)
