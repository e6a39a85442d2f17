"""Rescaling keeps the function bit for bit where it can, and refuses with nothing changed where it cannot."""

import pytest
import torch
from torch import nn

from commons import InputError
from sparse_training.models import build
from sparse_training.reparam import rescale


def network(middle: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), middle, nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


X = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("c", [0.125, 4.0])
def test_a_pair_is_rescaled_through_relu_and_from_a_normalization(c: float) -> None:
    mlp = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).train()
    before, weights = mlp(X), [p.clone() for p in mlp.parameters()]
    rescale(mlp, "0", "2", c, X)
    assert torch.equal(mlp(X), before)
    for parameter, weight, factor in zip(mlp.parameters(), weights, (c, c, 1 / c, 1), strict=True):
        assert torch.equal(parameter, factor * weight)
    model = network(nn.Identity())
    weight = model[5].weight.clone()
    rescale(model, "2", "5", c, X)
    assert torch.equal(model[5].weight, weight / c)
    assert torch.equal(model[2].weight, torch.full((8,), c))


def test_a_layer_before_batch_norm_is_rescaled_into_it() -> None:
    model = network(nn.Identity())
    model.train()(X)  # running statistics of its own
    outputs = [model.eval()(X), [value.clone() for value in model.state_dict().values()]]
    rescale(model, "0", "2", 2.0, X)
    assert torch.equal(model(X), outputs[0])
    assert not model.training
    assert model[2].eps == 4e-5
    assert float(model[2].num_batches_tracked) == 1


def test_residual_blocks_let_a_rescaling_pass_inside_and_not_across() -> None:
    model = build("resnet20", in_channels=3, image_size=8, num_classes=10, seed=0)
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    x = torch.randn(4, 3, 8, 8)
    inner = next(n for n in names if "." in n)
    block = inner.rpartition(".")[0]
    own = [n for n in names if n.startswith(f"{block}.")]
    convs = [n for n in own if isinstance(model.get_submodule(n), nn.Conv2d)]
    norms = [n for n in own if isinstance(model.get_submodule(n), nn.BatchNorm2d)]
    rescale(model, norms[0], convs[1], 2.0, x)
    rescale(model, convs[0], norms[0], 2.0, x)
    with pytest.raises(InputError, match="rescaled at the same function"):
        rescale(model, norms[1], convs[0], 2.0, x)


@pytest.mark.parametrize(("middle", "c", "message"), [(nn.GELU(), 2.0, "same function"), (nn.ReLU(), 3.0, "power of")])
def test_what_is_not_exact_is_refused_and_nothing_changed(middle: nn.Module, c: float, message: str) -> None:
    model = nn.Sequential(nn.Linear(6, 8), middle, nn.Linear(8, 3))
    before = [value.clone() for value in model.state_dict().values()]
    with pytest.raises(InputError, match=message):
        rescale(model, "0", "2", c, X)
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))
