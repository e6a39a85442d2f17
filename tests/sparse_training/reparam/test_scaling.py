"""Scalings: each does to a step what its formula says, decay is matched, and what does not fit is refused."""

from typing import Any

import pytest
import torch
from torch import nn

from commons import InputError
from sparse_training.masks import Masks, make_masks
from sparse_training.reparam import LayerRates, RootDensity, Scaling, SignIn, Sparse, SparseOpt, sparsify
from sparse_training.reparam.speeds import nearly_constant, speeds_of, strength


def network(scaling: Scaling | None, reparam: SignIn | None = None, density: float = 0.5) -> Sparse:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    return sparsify(model, make_masks(model, density, "random", "erk"), reparam, scaling)


def stepped(sparse: Sparse, decay: float = 0.0, lr: float = 0.1) -> dict[str, torch.Tensor]:
    """The change of each weight in one step of SGD, on data that are always the same."""
    optimizer = torch.optim.SGD(sparse.parameter_groups(decay), lr=lr)
    sparse.attach(optimizer)
    before = {name: weight.clone() for name, weight in sparse.weights().items()}
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sparse.model(x).square().mean().backward()
    optimizer.step()
    return {name: weight - before[name] for name, weight in sparse.weights().items()}


@pytest.mark.parametrize("reparam", [None, SignIn()])
def test_layer_rates_multiply_the_step_of_the_loss_and_leave_decay_alone(reparam: SignIn | None) -> None:
    names = ("2.weight", "0.weight")
    rates = LayerRates(rates_of=(3.0, 0.5), layers=names)
    plain, decayed = stepped(network(None, reparam)), stepped(network(None, reparam), 1e-3)
    scaled, both = stepped(network(rates, reparam)), stepped(network(rates, reparam), 1e-3)
    for name, rate in zip(names, (3.0, 0.5), strict=True):
        torch.testing.assert_close(scaled[name], rate * plain[name], rtol=0.3 if reparam else 1e-9, atol=1e-15)
        pull = decayed[name] - plain[name]
        torch.testing.assert_close(both[name] - scaled[name], pull, rtol=0.05 if reparam else 1e-6, atol=1e-12)


def test_layer_rates_go_from_the_first_layer_to_the_last() -> None:
    assert LayerRates(4.0, 1.0).rates(network(None).layers) == [4.0, 1.0]
    sparse = network(LayerRates(rates_of=(1.0, 2.0, 3.0)))
    with pytest.raises(InputError, match="3 rates"):
        stepped(sparse)
    with pytest.raises(InputError, match=r"scaling\.rates=0"):
        LayerRates(0.0)
    with pytest.raises(InputError, match=r"a group for 0\.weight alone; build it over sparse\.parameter_groups"):
        sparse.attach(torch.optim.SGD(sparse.model.parameters(), lr=0.1))


def test_sparse_opt_scales_each_neuron_by_its_density() -> None:
    plain, scaled = stepped(network(None)), stepped(network(SparseOpt()))
    for name, mask in network(None).masks.items():
        densities = mask.double().mean(1)
        for neuron, density in enumerate(densities):
            factor = float((density / densities.mean()).sqrt())
            torch.testing.assert_close(scaled[name][neuron], factor * plain[name][neuron], rtol=1e-6, atol=1e-15)


def test_sparse_opt_is_the_identity_on_dense_layers_and_survives_empty_ones() -> None:
    conv = nn.ConvTranspose2d(2, 3, 2)
    for mask in (torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)):
        sparse = sparsify(nn.Sequential(conv), Masks({"0.weight": mask.bool()}), None, SparseOpt())
        factor = sparse.scaling.gradient(sparse.layers[0])
        assert factor.shape == (1, 3, 1, 1)
        assert torch.equal(factor, mask.amax((0, 2, 3), keepdim=True))


def test_root_density_follows_the_masks() -> None:
    sparse = network(RootDensity())
    for layer, rate in zip(sparse.layers, RootDensity().rates(sparse.layers), strict=True):
        assert rate == pytest.approx(float(layer.mask.double().mean()) ** -0.5)
    plain, scaled = stepped(network(None)), stepped(network(RootDensity()))
    for name, mask in sparse.masks.items():
        torch.testing.assert_close(scaled[name], plain[name] / float(mask.double().mean().sqrt()))
    sparse.set_masks(make_masks(sparse.merge(), 0.25, "random", "erk"))
    assert RootDensity().rates(sparse.layers)[0] > RootDensity().rates(network(None).layers)[0]


def test_rates_of_a_recorded_run_make_plain_training_as_fast() -> None:
    recorded = network(None, SignIn((0.5, 2.0)))
    optimizer = torch.optim.SGD(recorded.parameter_groups(0.1), lr=0.1)
    epochs = [speeds_of(recorded, optimizer)] * 2
    rates = LayerRates.of_metrics([{"speeds": line} for line in epochs])
    plain = network(rates)
    again = speeds_of(plain, torch.optim.SGD(plain.parameter_groups(0.1), lr=0.1))
    for name, line in epochs[0].items():
        assert again[name]["mean"] == pytest.approx(line["mean"])
        assert again[name]["low"] == again[name]["high"]
        assert again[name]["decay"] == pytest.approx(0.1 / line["mean"])
    with pytest.raises(InputError, match="recorded speeds"):
        LayerRates.of_metrics([{}])


def test_sign_in_speed_is_its_metric_and_its_decay_that_of_theta() -> None:
    sparse = network(None, SignIn(0.7))
    found = speeds_of(sparse, torch.optim.SGD(sparse.parameter_groups(0.1), lr=0.1))["0.weight"]
    theta = sparse.weights()["0.weight"][sparse.masks["0.weight"]]
    speed = torch.sqrt(4 * theta**2 + 0.7**2)
    assert found["mean"] == pytest.approx(float(speed.mean()), rel=1e-6)
    assert found["beta"] == pytest.approx(0.7)
    assert found["decay"] == pytest.approx(float((0.1 / speed).mean()), rel=1e-6)


def line(low: float, high: float, beta: float | None = 1.0) -> dict[str, Any]:
    return {"mean": (low + high) / 2, "low": low, "high": high, "beta": beta, "strength": 2 / beta if beta else 0.0}


def test_a_nearly_constant_speed_is_told_and_another_is_not() -> None:
    flat = {"speeds": {"a": line(1.0, 1.05), "b": line(2.0, 2.1)}}
    assert "within 5 %" in nearly_constant([flat, flat])
    assert "1.02 to 2.05" in nearly_constant([flat])
    assert nearly_constant([flat, {"speeds": {"a": line(1.0, 1.2), "b": line(2.0, 2.0)}}]) == ""
    assert nearly_constant([flat, {"speeds": {"a": line(1.1, 1.15), "b": line(2.0, 2.0)}}]) == ""  # it drifts
    assert nearly_constant([{}]) == nearly_constant([]) == strength([{}]) == ""
    assert strength([flat]) == "strength 2/β = 2"
    assert strength([{"speeds": {"a": line(1, 1, 0.5), "b": line(1, 1, 0.1)}}]) == "strength 2/β = 4 to 20"


def test_a_scaling_needs_an_attached_optimizer_and_a_step_is_scaled_once() -> None:
    sparse = network(SparseOpt())
    optimizer = torch.optim.SGD(sparse.parameter_groups(0.0), lr=0.1)
    with pytest.raises(InputError, match="attached before its first step, as SparseOpt asks"):
        sparse.after_step(optimizer)
    with pytest.raises(InputError, match="scaling='sparse-opt'"):
        sparsify(nn.Linear(2, 2), Masks({"weight": torch.ones(2, 2).bool()}), None, "sparse-opt")  # type: ignore[arg-type]
