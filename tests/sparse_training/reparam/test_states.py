"""What is loaded into a sparse network keeps its masks, or is refused by the name of the weight."""

import copy

import pytest
import torch
from torch import nn

from commons import InputError
from sparse_training.masks import make_masks
from sparse_training.reparam import PILoT, Reparam, SignIn, Sparse, Spred, sparsify

CHARTS = pytest.mark.parametrize("reparam", [SignIn(), Spred(), PILoT()], ids=lambda r: r.name)


def network(reparam: Reparam | None, seed: int = 0) -> Sparse:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    return sparsify(model, make_masks(model, 0.4, "random", seed=seed), reparam)


def off(sparse: Sparse) -> int:
    return sum(int(weight[~sparse.masks[name]].count_nonzero()) for name, weight in sparse.weights().items())


@CHARTS
def test_a_state_of_another_support_is_refused_by_name(reparam: Reparam) -> None:
    first, second = network(reparam), network(reparam, seed=1)
    before = {name: weight.clone() for name, weight in second.weights().items()}
    with pytest.raises(InputError, match=r"state_dict\['0.weight'\].*a support that differs in \d+ weights"):
        second.model.load_state_dict(first.model.state_dict())
    assert torch.equal(second.weights()["0.weight"], before["0.weight"])
    assert off(second) == 0
    second.load_masks(first.masks)
    second.model.load_state_dict(first.model.state_dict())
    assert all(torch.equal(weight, first.weights()[name]) for name, weight in second.weights().items())


@CHARTS
def test_a_state_from_before_masks_were_saved_is_read_if_it_is_zero_off_the_masks(reparam: Reparam) -> None:
    first, second = network(reparam), network(reparam, seed=1)
    old = {name: value for name, value in first.model.state_dict().items() if not name.endswith(".mask")}
    with pytest.raises(InputError, match=r"state_dict\['0.weight'\].*non-zero weights.*0 off the network's masks"):
        second.model.load_state_dict(old)
    second.load_masks(first.masks)
    second.model.load_state_dict(old)
    assert all(torch.equal(weight, first.weights()[name]) for name, weight in second.weights().items())


@CHARTS
def test_a_wrapped_network_is_checked_too(reparam: Reparam) -> None:
    outer, other = (nn.ModuleDict({"net": network(reparam, seed).model}) for seed in (0, 1))
    with pytest.raises(InputError, match=r"state_dict\['net.0.weight'\]"):
        other.load_state_dict(outer.state_dict())
    twin = copy.deepcopy(other)
    with pytest.raises(InputError, match=r"state_dict\['net.0.weight'\]"):
        twin.load_state_dict(outer.state_dict())


@pytest.mark.parametrize("reparam", [None, SignIn(), Spred(), PILoT()], ids=lambda r: r and r.name)
def test_a_plain_state_goes_in_and_comes_out(reparam: Reparam | None) -> None:
    source, target = network(None), network(reparam, seed=1)
    with pytest.raises(InputError, match=r"state_dict\['0.weight'\]='\d+ non-zero weights'"):
        target.load_state_dict(source.state_dict())
    target.set_masks(source.masks)
    target.load_state_dict(source.state_dict())
    for name, value in target.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name], rtol=3e-7, atol=0)
    assert off(target) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("2.bias"), "2.bias"),
        (lambda s: s.update(extra=torch.ones(1)), "extra"),
        (lambda s: s.update({"2.bias": torch.ones(5)}), r"\(5,\)"),
    ],
)
def test_a_plain_state_of_another_network_is_refused_whole(change: object, message: str) -> None:
    sparse = network(SignIn())
    state = {name: value + 1 if name == "0.bias" else value for name, value in sparse.state_dict().items()}
    before = sparse.state_dict()["0.bias"].clone()
    change(state)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        sparse.load_state_dict(state)
    assert torch.equal(sparse.state_dict()["0.bias"], before)
