"""Misuse of the ten-line loop is told in one line instead of training nothing."""

import pytest
import torch
from torch import nn

from commons import InputError
from sparse_training import SignIn, make_masks, sparsify


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


def test_an_optimizer_from_before_sparsify_is_refused() -> None:
    model = network()
    stale = torch.optim.SGD(model.parameters(), lr=0.1)
    sparse = sparsify(model, make_masks(model, 0.5, "random"), SignIn())
    for call in (sparse.after_step, sparse.reset):
        with pytest.raises(InputError, match="build it after sparsify"):
            call(stale)
    sparse.after_step(torch.optim.SGD(model.parameters(), lr=0.1))


def test_a_plain_mask_takes_an_optimizer_from_before() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sparse = sparsify(model, make_masks(model, 0.5, "random"))
    model(torch.ones(2, 6)).sum().backward()
    optimizer.step()
    sparse.after_step(optimizer)
    assert all((weight[~sparse.masks[name]] == 0).all() for name, weight in sparse.weights().items())


def test_a_name_is_no_reparametrization_and_a_sparse_network_is_not_plain() -> None:
    model = network()
    masks = make_masks(model, 0.5, "random")
    with pytest.raises(InputError, match="reparam='sign-in' is not a reparametrization"):
        sparsify(model, masks, "sign-in")  # type: ignore[arg-type]
    sparsify(model, masks, SignIn())
    with pytest.raises(InputError, match="reparametrized already"):
        sparsify(model, masks, SignIn())


def test_masks_are_any_mapping_of_boolean_tensors() -> None:
    model = network()
    masks = {"0.weight": torch.rand(5, 6) < 0.5}
    for wrong, told in (
        ([torch.ones(5, 6)], "masks='list'"),
        ({"0.weight": torch.ones(5, 6)}, r"masks\['0.weight'\]"),
        ({"nope": masks["0.weight"]}, "nope"),
    ):
        with pytest.raises(InputError, match=told):
            sparsify(model, wrong)  # type: ignore[arg-type]
    sparse = sparsify(model, masks, SignIn())
    assert torch.equal(sparse.masks["0.weight"], masks["0.weight"])
    sparse.set_masks({"0.weight": ~masks["0.weight"]})
    assert torch.equal(sparse.masks["0.weight"], ~masks["0.weight"])
    with pytest.raises(InputError, match=r"masks\['0.weight'\]"):
        sparse.set_masks({"0.weight": torch.ones(5, 6)})


@pytest.mark.parametrize(("argument", "value"), [("density", "0.1"), ("batch", torch.ones(2, 6))])
def test_a_wrong_type_is_named(argument: str, value: object) -> None:
    wanted = {"density": 0.5, "score": "snip", "batch": (torch.ones(2, 6), torch.tensor([0, 1]))} | {argument: value}
    with pytest.raises(InputError, match=f"^{argument}="):
        make_masks(network(), **wanted)  # type: ignore[arg-type]
