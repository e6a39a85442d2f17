"""Laws of masks on random networks: exact counts, scoring that leaves no trace, counts that no seed changes."""

import copy
import itertools
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparse_training.masks import DISTRIBUTIONS, SCORES, EmptyLayer, from_scores, make_masks, prunable
from sparse_training.masks.distributions import water_fill

LAWS = settings(max_examples=40)
densities = st.one_of(st.floats(0.001, 1.0), st.sampled_from([0.001, 0.5, 1.0]))
widths = st.integers(1, 9)


@st.composite
def networks(draw):
    """A small convolutional or fully connected network with batch normalisation, and a batch (x, y) for it."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    channels, layers = [draw(st.integers(1, 3))], []
    for width in draw(st.lists(widths, max_size=2)):
        kernel = draw(st.sampled_from([1, 3]))
        layers += [nn.Conv2d(channels[-1], width, kernel, padding=kernel // 2), nn.BatchNorm2d(width), nn.ReLU()]
        channels.append(width)
    layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    features = [4 * channels[-1], *draw(st.lists(widths, max_size=2)), 3]
    for fan_in, fan_out in itertools.pairwise(features):
        layers += [nn.Linear(fan_in, fan_out), nn.Dropout(0.2), nn.ReLU()]
    batch = torch.rand(6, channels[0], 4, 4), torch.randint(3, (6,))
    return nn.Sequential(*layers[:-2]), batch


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayer)
        return function(*arguments, **options)


@LAWS
@given(
    networks(), densities, st.sampled_from(list(DISTRIBUTIONS)), st.sampled_from(list(SCORES)), st.integers(0, 2**31)
)
def test_the_count_is_exact_and_scoring_leaves_no_trace(network, density, distribution, score, seed):
    model, batch = network
    leave_marks(model, batch)
    before = fingerprint(model)
    masks = quietly(make_masks, model, density, score, distribution, batch=batch, seed=seed)
    assert fingerprint(model) == before
    assert abs(masks.active - density * masks.total) <= 1
    assert list(masks) == list(prunable(model))
    masks.check(model)
    assert masks == quietly(make_masks, model, density, score, distribution, batch=batch, seed=seed)


def leave_marks(model, batch):
    """Gradients, running statistics, a frozen weight and modules in different modes, for scoring to disturb."""
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    next(model.parameters()).requires_grad_(False)
    for index, module in enumerate(model.modules()):
        module.training = index % 2 == 0


def fingerprint(model):
    """Every bit that scoring must not change."""
    tensors = {f"value {name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"grad {name}": p.grad for name, p in model.named_parameters() if p.grad is not None}
    return (
        {name: (tensor.dtype, tensor.numpy().tobytes()) for name, tensor in tensors.items()},
        [(name, id(p), p.requires_grad, p.grad is None) for name, p in model.named_parameters()],
        [module.training for module in model.modules()],
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        repr(np.random.get_state()),  # noqa: NPY002
    )


@LAWS
@given(networks(), densities, st.sampled_from(list(DISTRIBUTIONS)), st.integers(0, 99), st.integers(100, 199))
def test_counts_do_not_depend_on_the_seed(network, density, distribution, first, second):
    one, two = (quietly(make_masks, network[0], density, "random", distribution, seed=seed) for seed in (first, second))
    assert one.active == two.active
    if distribution != "global":
        assert one.layers() == two.layers()


shapes = st.lists(
    st.one_of(st.tuples(widths, widths), st.tuples(widths, widths, widths, widths)), min_size=1, max_size=6
)


@LAWS
@given(shapes, densities, st.sampled_from(list(DISTRIBUTIONS)), st.floats(-1e9, 1e9))
def test_equal_scores_give_the_exact_count_from_the_lowest_index_up(shapes, density, distribution, value):
    scores = {f"{index}": torch.full(shape, value) for index, shape in enumerate(shapes)}
    masks = quietly(from_scores, scores, density, distribution)
    assert masks.active == max(1, round(density * masks.total))
    for mask in masks.values() if distribution != "global" else [torch.cat([m.flatten() for m in masks.values()])]:
        flat = mask.flatten().int()
        assert (flat.diff() <= 0).all()


@LAWS
@given(shapes, st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 3)]), st.randoms(use_true_random=False))
def test_every_whole_group_keeps_n_of_m(shapes, pattern, randomness):
    n, m = pattern
    generator = torch.Generator().manual_seed(randomness.getrandbits(32))
    scores = {f"{index}": torch.randint(5, shape, generator=generator).float() for index, shape in enumerate(shapes)}
    masks = quietly(from_scores, scores, n / m, f"{n}:{m}")
    assert abs(masks.active - masks.total * n / m) <= 1
    for name, mask in masks.items():
        groups = mask.movedim(1, -1)[..., : mask.shape[1] // m * m].reshape(-1, m)
        ranks = scores[name].movedim(1, -1)[..., : mask.shape[1] // m * m].reshape(-1, m)
        assert (groups.sum(1) == n).all()
        kept, dropped = ranks.masked_fill(~groups, torch.inf), ranks.masked_fill(groups, -torch.inf)
        assert (kept.amin(1) >= dropped.amax(1)).all()


@settings(LAWS, max_examples=200)
@given(shapes, densities, st.sampled_from(["erk", "balanced", "uniform"]))
def test_counts_round_the_solution_of_the_filling_equation(shapes, density, distribution):
    """Σ min(n, ε·weight) = total, solved here by bisection in floating point."""
    sizes = np.array([float(np.prod(shape)) for shape in shapes])
    weights = {
        "erk": np.array([float(sum(shape)) for shape in shapes]),
        "balanced": np.ones(len(shapes)),
        "uniform": sizes,
    }[distribution]
    total = max(1, round(density * sizes.sum()))
    low, high = 0.0, sizes.sum()
    for _ in range(200):
        level = (low + high) / 2
        low, high = (level, high) if np.minimum(sizes, level * weights).sum() < total else (low, level)
    scores = {f"{index}": torch.rand(shape) for index, shape in enumerate(shapes)}
    counts = [layer.active for layer in quietly(from_scores, scores, density, distribution).layers()]
    assert sum(counts) == total
    assert np.abs(np.minimum(sizes, high * weights) - counts).max() < 1 + 1e-6


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1), st.floats(0, 1))
def test_water_filling_gives_out_exactly_the_total(layers, share):
    weights, sizes = [weight for weight, _ in layers], [size if weight else 0 for weight, size in layers]
    total = round(share * sum(sizes))
    counts = water_fill(weights, sizes, total)
    assert sum(counts) == total
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))


@LAWS
@given(networks(), st.sampled_from(list(DISTRIBUTIONS)), st.sampled_from(list(SCORES)))
def test_density_one_keeps_all_and_the_smallest_keeps_one(network, distribution, score):
    model, batch = network
    assert all(mask.all() for mask in make_masks(model, 1.0, score, distribution, batch=batch).values())
    assert quietly(make_masks, model, 1e-9, score, distribution, batch=batch).active == 1


@LAWS
@given(networks(), st.floats(0.01, 0.99))
def test_masks_do_not_see_unpruned_parameters(network, density):
    """Magnitude masks stay the same whatever biases and normalisations hold."""
    model, _ = network
    other = copy.deepcopy(model)
    weights = prunable(other)
    for name, parameter in other.named_parameters():
        if name not in weights:
            nn.init.constant_(parameter, 7.0)
    assert quietly(make_masks, model, density, "magnitude") == quietly(make_masks, other, density, "magnitude")


def test_an_emptied_layer_is_named():
    scores = {"first.weight": torch.zeros(3, 3), "second.weight": torch.ones(3, 3)}
    with pytest.warns(EmptyLayer, match="first.weight"):
        from_scores(scores, 0.5)
