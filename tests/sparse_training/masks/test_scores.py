"""Each criterion against its paper's equation, computed independently in float64."""

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import models
from sparse_training.masks import SCORES, Criterion, EmptyLayer, Setting, make_masks, prunable

PROBES = ("probe", "fitting")


def setting(model, batch, seed=0):
    return Setting(model, dict(prunable(model)), batch, cross_entropy, seed)


@pytest.fixture
def network():
    """A float64 network with batch normalisation, so that training and evaluation mode differ, and a batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 3)).double()
    model[1].running_mean.fill_(5.0)
    return model, (torch.randn(8, 1, 4, 4, dtype=torch.float64), torch.randint(3, (8,)))


def assert_same(scores, expected):
    assert list(scores) == list(expected)
    for name, score in scores.items():
        scale = expected[name].abs().max()
        assert scale > 0
        assert (score - expected[name]).abs().max() <= 1e-10 * scale, name


def test_magnitude_is_the_absolute_weight(network):
    model, batch = network
    scores = SCORES["magnitude"].score(setting(model, batch))
    assert_same(scores, {name: weight.abs() for name, weight in prunable(model).items()})


def test_snip_is_the_gradient_times_the_weight(network):
    model, (x, y) = network
    cross_entropy(model.train()(x), y).backward()
    expected = {name: (weight.grad * weight).abs() for name, weight in prunable(model).items()}
    assert_same(SCORES["snip"].score(setting(model, (x, y))), expected)


def test_snip_is_the_derivative_by_a_gate_of_each_weight(network):
    """Equation 4 of the paper: the change of the loss as the connection's gate c leaves 1, by central differences."""
    model, (x, y) = network
    scores = SCORES["snip"].score(setting(model, (x, y)))
    with torch.no_grad():
        for name, weight in prunable(model).items():
            value, losses = weight[0].flatten()[0].clone(), []
            for gate in (1 + 1e-5, 1 - 1e-5):
                weight[0].view(-1)[0] = value * gate
                losses.append(cross_entropy(model.train()(x), y))
            weight[0].view(-1)[0] = value
            slope = abs(losses[0] - losses[1]) / 2e-5
            assert slope == pytest.approx(float(scores[name][0].flatten()[0]), rel=1e-6)


def test_grasp_is_the_negative_of_the_papers_score_with_an_explicit_hessian(network):
    model, (x, y) = network
    weights = {name: weight.detach() for name, weight in prunable(model).items()}
    theta = torch.cat([weight.flatten() for weight in weights.values()])

    def loss(flat):
        parts = flat.split([weight.numel() for weight in weights.values()])
        changed = {name: part.view_as(weights[name]) for name, part in zip(weights, parts, strict=True)}
        return cross_entropy(functional_call(model.train(), changed, x) / 200, y)

    H = torch.autograd.functional.hessian(loss, theta)
    g = torch.autograd.functional.jacobian(loss, theta)
    paper = (-theta * (H @ g)).split([weight.numel() for weight in weights.values()])  # S(−θ), eq. 8
    expected = {name: -part.view_as(weights[name]) for name, part in zip(weights, paper, strict=True)}
    assert_same(SCORES["grasp"].score(setting(model, (x, y))), expected)


def test_grasp_keeps_what_the_paper_keeps(network):
    """The paper prunes the highest entries of S(−θ) = −θ ⊙ Hg, so the lowest stay."""
    model, batch = network
    kept = torch.cat([m.flatten() for m in make_masks(model, 0.3, "grasp", batch=batch).values()])
    scores = SCORES["grasp"].score(setting(model, batch))
    paper = -torch.cat([score.flatten() for score in scores.values()])
    assert paper[kept].max() <= paper[~kept].min()


def test_synflow_is_the_sum_over_paths_of_the_product_of_weights():
    torch.manual_seed(0)
    widths = (3, 4, 4, 2)
    layers = [nn.Linear(a, b, bias=False) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    matrices = [layer.weight.detach().double().abs().numpy() for layer in layers]
    expected = [np.zeros(matrix.shape) for matrix in matrices]
    for path in itertools.product(*map(range, widths)):
        edges = [(after, before) for before, after in itertools.pairwise(path)]
        product = np.prod([matrix[edge] for matrix, edge in zip(matrices, edges, strict=True)])
        for total, edge in zip(expected, edges, strict=True):
            total[edge] += product
    scores = SCORES["synflow"].score(setting(model.train(), (torch.randn(5, 3), torch.zeros(5))))
    assert all(score.dtype == torch.float64 for score in scores.values())
    assert_same(scores, dict(zip(scores, map(torch.from_numpy, expected), strict=True)))


def test_synflow_is_conserved_from_layer_to_layer():
    """Theorem 1 of the paper: scores into and out of each hidden unit have the same sum; so have whole layers."""
    model = models.build("mlp", in_channels=1, image_size=8)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    scores = SCORES["synflow"].score(setting(model, (torch.rand(1, 1, 8, 8), torch.zeros(1))))
    into, out = scores["fc1.weight"].sum(1), scores["fc2.weight"].sum(0)
    torch.testing.assert_close(into, out, rtol=1e-12, atol=0)


def test_synflow_does_not_overflow_where_single_precision_does():
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(30)))
    for layer in model:
        nn.init.constant_(layer.weight, 10.0)
    x = torch.ones(1, 8)
    assert torch.isinf(model(x)).all()
    make_masks(model, 0.5, "synflow", batch=(x, torch.zeros(1)))


def test_synflow_empties_no_layer_of_resnet20_but_in_one_shot_does(monkeypatch):
    model = models.build("resnet20")
    batch = torch.rand(1, 3, 32, 32), torch.zeros(1)
    masks = make_masks(model, 0.05, "synflow", batch=batch)
    assert min(layer.active for layer in masks.layers()) > 0
    monkeypatch.setitem(SCORES, "synflow", Criterion(SCORES["synflow"].score, needs="shapes"))
    with pytest.warns(EmptyLayer):
        make_masks(model, 0.10, "synflow", batch=batch)


def test_what_one_step_prunes_no_later_step_brings_back(monkeypatch):
    steps = []

    def contrary(setting):
        """Prefers pruned weights; a weight is pruned where it is zero."""
        steps.append({name: weight != 0 for name, weight in setting.weights.items()})
        return {name: (weight == 0).double() for name, weight in setting.weights.items()}

    monkeypatch.setitem(SCORES, "contrary", Criterion(contrary, iterations=10))
    masks = make_masks(models.build("mlp"), 0.1, "contrary", "uniform")
    counts = [sum(int(active.sum()) for active in step.values()) for step in steps]
    assert counts == [round(masks.total * 0.1 ** (k / 10)) for k in range(10)]
    for earlier, later in itertools.pairwise([*steps, masks]):
        assert all((earlier[name] | ~later[name]).all() for name in masks)


def test_synflow_ignores_signs_the_batch_and_the_mode():
    model = models.build("cnn", in_channels=3)
    batch = torch.rand(4, 3, 16, 16), torch.zeros(4)
    masks = make_masks(model, 0.1, "synflow", batch=batch)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.neg_()
    assert make_masks(model.eval(), 0.1, "synflow", batch=(-batch[0], batch[1])) == masks


def test_synflow_refuses_networks_it_is_not_defined_for():
    model = models.build("deit_small", in_channels=1, image_size=8)
    with pytest.raises(InputError, match="not for attention"):
        make_masks(model, 0.1, "synflow", batch=(torch.rand(1, 1, 8, 8), torch.zeros(1)))


def test_scores_that_are_not_finite_are_refused_by_layer(network):
    model, _ = network
    nn.init.constant_(model[4].weight, torch.nan)
    with pytest.raises(InputError, match=r"4\.weight are not finite"):
        make_masks(model, 0.5, "magnitude")


def test_a_missing_batch_is_named(network):
    with pytest.raises(InputError, match="batch=None"):
        make_masks(network[0], 0.5, "snip")
    with pytest.raises(InputError, match=r"batch='dict' is not a pair .*; of a network .* forward=lambda model, batch"):
        make_masks(models.build("mlp"), 0.5, "snip", batch={"input_ids": torch.zeros(2, 3)})


def test_weights_that_the_output_does_not_use_score_zero():
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    model.forward = lambda x: model["used"](x)
    scores = SCORES["snip"].score(setting(model, (torch.rand(4, 3), torch.tensor([0, 1, 0, 1]))))
    assert scores["used.weight"].any()
    assert not scores["unused.weight"].any()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("score", [score for score in SCORES if score not in PROBES])
def test_masks_on_the_device_agree_with_those_on_the_cpu(score):
    # A probe trains, which makes a rounding of float32 grow until other weights rank first; one of float64 does not.
    dtype = torch.float64 if score in PROBES else torch.float32
    model = models.build("resnet20").to(dtype)
    batch = torch.rand(16, 3, 32, 32, dtype=dtype), torch.arange(16) % 10
    here = make_masks(model, 0.1, score, batch=batch)
    state = torch.cuda.get_rng_state()
    there = make_masks(model.cuda(), 0.1, score, batch=batch)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    assert there.device.type == "cuda"
    assert there.active == here.active
    differing = sum(int((there[name].cpu() != mask).sum()) for name, mask in here.items())
    assert differing <= 0.02 * here.active


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("score", PROBES)
def test_probes_on_the_device_keep_most_of_what_they_keep_on_the_cpu_and_repeat_themselves(score):
    """Training amplifies rounding, so that weights near the threshold differ; a mask at random would share a tenth."""
    model = models.build("resnet20")
    batch = torch.rand(64, 3, 32, 32), torch.arange(64) % 10
    here = make_masks(model, 0.1, score, batch=batch)
    there, again = (make_masks(model.cuda(), 0.1, score, batch=batch) for _ in range(2))
    assert there.active == here.active
    assert there == again
    shared = sum(int((there[name].cpu() & mask).sum()) for name, mask in here.items())
    assert shared > 0.8 * here.active


def test_fitting_keeps_first_what_the_probe_makes_large_with_the_sign_it_has():
    model = models.build("mlp", in_channels=1, image_size=4, num_classes=3, seed=1)
    x = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    batch = x, (x[:, 0, 0, 0] > 0).long() + (x[:, 0, 1, 1] > 1).long()
    before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
    probed = setting(model, batch)
    scores = SCORES["fitting"].score(probed)
    assert cross_entropy(model(batch[0]), batch[1]) < 0.75  # from log 3 = 1.1
    agrees, disagrees, sizes = [], [], []
    for name, weight in probed.weights.items():
        same = weight * before[name] > 0
        agrees.append(scores[name][same])
        disagrees.append(scores[name][~same])
        sizes.append(weight[same].detach().abs())
    assert min(len(torch.cat(agrees)), len(torch.cat(disagrees))) > 1000
    assert torch.cat(agrees).min() > torch.cat(disagrees).max()
    assert torch.equal(torch.cat(agrees), torch.cat(sizes))


def test_a_probe_starts_from_small_weights_of_the_network_and_follows_the_seed(network):
    model, batch = network
    same, again, other = (SCORES["probe"].score(setting(copy.deepcopy(model), batch, seed)) for seed in (0, 0, 1))
    assert all(torch.equal(score, again[name]) for name, score in same.items())
    # one batch an epoch holds all samples, so that another order only rounds otherwise
    for name, weight in prunable(model).items():
        torch.testing.assert_close(same[name], other[name])
        moved = (same[name] - 0.3 * weight.abs()).abs()
        assert 0 < moved.max() < 3.1 * 0.14 * 0.3 * weight.square().mean().sqrt()
