"""Masks as values, prunable weights, and requests that are refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from commons import InputError
from sparse_training import models
from sparse_training.masks import Masks, from_scores, make_masks, prunable


@pytest.fixture
def model():
    return models.build("cnn", in_channels=1, image_size=8)


@pytest.fixture
def masks(model):
    return make_masks(model, 0.2, "random")


def test_prunable_names_weights_from_input_to_output_and_no_bias_or_norm(model):
    assert list(prunable(model)) == ["conv1.weight", "conv2.weight", "conv3.weight", "fc.weight"]


def test_prunable_returns_the_parameters_themselves(model):
    assert all(weight is model.get_parameter(name) for name, weight in prunable(model).items())


def test_prunable_finds_attention_projections():
    assert list(prunable(nn.MultiheadAttention(4, 2))) == ["in_proj_weight", "out_proj.weight"]
    separate = nn.MultiheadAttention(4, 2, kdim=3, vdim=5)
    assert list(prunable(separate)) == ["q_proj_weight", "k_proj_weight", "v_proj_weight", "out_proj.weight"]
    assert {"blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight"} <= set(prunable(models.build("deit_small")))


def test_prunable_counts_a_shared_weight_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert list(prunable(nn.Sequential(first, second))) == ["0.weight"]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"exclude": ["fc"]}, ["conv1.weight", "conv2.weight", "conv3.weight"]),
        ({"exclude": ["conv1.weight", "fc.*"]}, ["conv2.weight", "conv3.weight"]),
        ({"include": ["conv*"], "exclude": ["conv1"]}, ["conv2.weight", "conv3.weight"]),
    ],
)
def test_patterns_choose_weights(model, options, kept):
    assert list(prunable(model, **options)) == kept
    assert list(make_masks(model, 0.5, "random", **options)) == kept


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"include": ["conv9"]}, "conv9"),
        ({"exclude": ["*"]}, "leaves a weight"),
        ({"exclude": ["fc.wieght"]}, "fc.weight"),
    ],
)
def test_patterns_that_match_nothing_or_leave_nothing_are_refused(model, options, words):
    with pytest.raises(InputError, match=words):
        prunable(model, **options)


def test_a_network_without_weights_is_refused():
    with pytest.raises(InputError, match="linear, convolution or attention"):
        prunable(nn.ReLU())


def test_counts_add_up(model, masks):
    assert masks.total == sum(weight.numel() for weight in prunable(model).values())
    assert masks.active == sum(int(mask.sum()) for mask in masks.values()) == round(0.2 * masks.total)
    assert masks.density == masks.active / masks.total
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert masks.density_in(model) == 1 - (masks.total - masks.active) / parameters
    assert [layer.shape for layer in masks.layers()] == [tuple(weight.shape) for weight in prunable(model).values()]


def test_saved_masks_come_back_equal_and_in_order(masks, tmp_path):
    backwards = Masks({name: masks[name] for name in reversed(list(masks))})
    for value in (masks, backwards):
        value.save(tmp_path / "masks.safetensors")
        loaded = Masks.load(tmp_path / "masks.safetensors")
        assert loaded == value
        assert list(loaded) == list(value)
    assert masks != backwards


def test_equality_is_by_value(masks):
    same = Masks({name: mask.clone() for name, mask in masks.items()})
    other = Masks({name: ~mask for name, mask in masks.items()})
    assert masks == same
    assert masks != other


def test_masks_that_do_not_fit_are_refused_by_name_and_shape(model, masks):
    with pytest.raises(InputError, match=r"conv1.weight.*\(16, 1, 3, 3\).*\(16, 3, 3, 3\)"):
        masks.check(models.build("cnn", in_channels=3))
    with pytest.raises(InputError, match=r"conv1.wieght.*did you mean conv1.weight"):
        Masks({"conv1.wieght": masks["conv1.weight"]}).check(model)


@pytest.mark.parametrize(
    "tensors", [{}, {"w": torch.ones(2)}, {"w": torch.ones(0, dtype=torch.bool)}, {"w": [True, False]}]
)
def test_a_mask_checks_itself(tensors):
    with pytest.raises(InputError, match="masks"):
        Masks(tensors)


def test_files_that_hold_no_masks_are_refused_in_one_line(masks, tmp_path):
    path = tmp_path / "masks.safetensors"
    masks.save(path)
    path.write_bytes(path.read_bytes()[:-100])
    floats, absent = tmp_path / "floats.safetensors", tmp_path / "absent.safetensors"
    save_file({"w": torch.ones(2)}, floats)
    for wrong in (path, floats, absent):
        with pytest.raises(InputError) as refusal:
            Masks.load(wrong)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("density", "distribution", "words"),
    [
        (12, "global", "did you mean 0.12"),
        (0, "global", "density=0"),
        (-0.1, "erk", "density=-0.1"),
        (float("nan"), "erk", "density=nan"),
        ("half", "erk", "density='half'"),
        (0.1, "ERK", "did you mean erk"),
        (0.1, "N:M", "such as 2:4"),
        (0.5, "5:4", "such as 2:4"),
        (0.1, "2:4", "the density of 2:4"),
    ],
)
def test_wrong_requests_are_refused_with_a_hint(density, distribution, words):
    with pytest.raises(InputError, match=words):
        from_scores({"w": torch.rand(4, 4)}, density, distribution)


def test_a_score_of_nan_is_refused_by_name():
    with pytest.raises(InputError, match="broken"):
        from_scores({"fine": torch.rand(3), "broken": torch.tensor([1.0, torch.nan])}, 0.5)


def test_weights_scored_minus_infinity_go_first():
    scores = torch.tensor([-torch.inf, -1e30, -torch.inf, 0.0])
    assert from_scores({"w": scores}, 0.5)["w"].tolist() == [False, True, False, True]


def test_erk_redistributes_what_does_not_fit():
    """Clamping once loses weights: on ResNet-18 at density 0.2 that realises 0.174."""
    model = models.build("resnet18")
    weights = prunable(model).values()
    level = 0.2 * sum(weight.numel() for weight in weights) / sum(sum(weight.shape) for weight in weights)
    clamped = sum(min(weight.numel(), level * sum(weight.shape)) for weight in weights)
    masks = make_masks(model, 0.2, "random", "erk")
    assert clamped / masks.total == pytest.approx(0.174, abs=5e-4)
    assert masks.active == round(0.2 * masks.total)


def test_masks_are_the_same_for_the_same_seed_only(model):
    assert make_masks(model, 0.2, "random", seed=1) == make_masks(model, 0.2, "random", seed=1)
    assert make_masks(model, 0.2, "random", seed=1) != make_masks(model, 0.2, "random", seed=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sparse_training.masks.EmptyLayer")
@pytest.mark.parametrize("distribution", ["global", "uniform", "erk", "balanced"])
@pytest.mark.parametrize("score", ["random", "magnitude"])
def test_resnet50_masks_are_exact_down_to_a_thousandth(score, distribution):
    model = models.build("resnet50", image_size=224, num_classes=1000)
    for density in (0.1, 0.001):
        masks = make_masks(model, density, score, distribution)
        assert masks.active == round(density * masks.total)
