"""A user's own loop: the ten lines of the documentation, eager and under torch.compile, and what they refuse."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import SignIn, make_masks, models, sparsify
from sparse_training.masks import Masks


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_ten_lines(compiled: bool) -> None:
    model = models.build("cnn", in_channels=1, image_size=8, seed=0)
    x, y = torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,))
    masks = make_masks(model, density=0.1, score="snip", distribution="global", batch=(x, y), seed=0)
    sparse = sparsify(model, masks, reparam=SignIn(beta=1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the compiler's own
        forward = torch.compile(model) if compiled else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for epoch in range(10):
            optimizer.zero_grad()
            loss = cross_entropy(forward(x), y)
            loss.backward()
            optimizer.step()
            sparse.after_step(optimizer)
            if epoch % 5 == 4:
                sparse.reset(optimizer)
            losses.append(float(loss.detach()))
    plain = sparse.merge()
    assert losses[-1] < losses[0]
    assert torch.equal(plain.eval()(x), model.eval()(x))
    assert not any(bool(plain.get_parameter(name)[~mask].any()) for name, mask in masks.items())


def test_grown_weights_start_on_the_orbit_at_zero() -> None:
    model = models.build("mlp", in_channels=1, image_size=8)
    sparse = sparsify(model, make_masks(model, 0.2, "random"), SignIn(beta=0.25))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    cross_entropy(model(torch.randn(8, 1, 8, 8)), torch.arange(8)).backward()
    optimizer.step()
    old, theta = sparse.masks, {name: weight.clone() for name, weight in sparse.weights().items()}
    fresh = models.build("mlp", in_channels=1, image_size=8)
    new = make_masks(fresh, 0.2, "random", seed=1)
    sparse.set_masks(new, optimizer)
    assert sparse.masks == new
    for layer in sparse._layers:
        grown, kept = new[layer.name] & ~old[layer.name], new[layer.name] & old[layer.name]
        m, w = layer.parameters
        assert bool((m[grown] == 0.5).all())
        assert not bool(w[grown].any())
        assert not bool(m[~new[layer.name]].any())
        assert torch.equal(layer.theta[kept], theta[layer.name][kept])
        for state in layer.states(optimizer):
            assert not bool(state[~kept].any())
            assert bool(state[kept].any())


def test_the_gradient_off_the_mask_is_that_of_the_plain_network() -> None:
    x, y = torch.randn(16, 1, 8, 8), torch.arange(16) % 10
    found = []
    for reparam in (None, SignIn()):
        model = models.build("cnn", in_channels=1, image_size=8)
        sparse = sparsify(model, make_masks(model, 0.3, "random"), reparam)
        cross_entropy(model(x), y).backward()
        buffers = {name: value.clone() for name, value in model.named_buffers()}
        found.append(sparse.dense_gradient(lambda model=model: cross_entropy(model(x), y)))
        assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-6)
        assert bool(gradient.any())


def test_mistakes_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with pytest.raises(InputError, match="momentum"):
        SignIn(momentum="carry")
    with pytest.raises(InputError, match="beta"):
        SignIn(beta=0.0)
    with pytest.raises(InputError, match="a parameter of the model"):
        sparsify(model, Masks({"2.weight": torch.ones(4, 4, dtype=torch.bool)}))
