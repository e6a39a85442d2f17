"""Networks have the published sizes and names, come from their seed alone, and fail in one line."""

import sys
import types

import pytest
import torch
from torch import nn

from commons import InputError
from commons.registry import accepted
from sparse_training import models

# A torchvision that was built for another torch is there and cannot be imported.
BROKEN = (ImportError, RuntimeError, OSError)

# Published: He et al. 2016 (0.27 M, 11.7 M, 25.6 M), torchvision's and timm's pages for the exact numbers.
PUBLISHED = [
    ("resnet20", 32, 10, 272_474),
    ("resnet18", 32, 10, 11_173_962),
    ("resnet18", 32, 100, 11_220_132),
    ("resnet18", 224, 1000, 11_689_512),
    ("resnet50", 224, 1000, 25_557_032),
    ("deit_small", 224, 1000, 22_050_664),
]


@pytest.mark.parametrize(("name", "size", "classes", "count"), PUBLISHED)
def test_parameter_counts_are_the_published_ones(name, size, classes, count):
    model = models.build(name, image_size=size, num_classes=classes)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("name", models.MODELS)
def test_functions_build_the_published_network_by_default_as_build_does(name):
    factory = getattr(models, name)
    sizes = models.published_sizes(name)
    shapes = [{key: value.shape for key, value in m.state_dict().items()} for m in (factory(), models.build(name))]
    assert (
        shapes[0]
        == shapes[1]
        == {key: value.shape for key, value in factory(**accepted(factory, sizes)).state_dict().items()}
    )
    assert 7 in {parameter.shape[0] for parameter in factory(num_classes=7).parameters()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_torchvision_weights_load_and_give_the_same_logits(name):
    torchvision = pytest.importorskip("torchvision", exc_type=BROKEN)
    theirs, ours = getattr(torchvision.models, name)(), models.build(name, image_size=224, num_classes=1000)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(theirs.eval()(x), ours.eval()(x))


def test_timm_weights_load_and_give_the_same_logits():
    timm = pytest.importorskip("timm", exc_type=BROKEN)
    theirs = timm.create_model("deit_small_patch16_224")
    ours = models.build("deit_small", image_size=224, num_classes=1000)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(1, 3, 224, 224)
    torch.testing.assert_close(theirs.eval()(x), ours.eval()(x), rtol=0, atol=1e-5)


def torchvision_names(depths, convolutions):
    """torchvision's names of a ResNet's parameters, written out independently of the code."""
    names = ["conv1.weight", "bn1.weight", "bn1.bias"]
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            for index in range(1, convolutions + 1):
                prefix = f"layer{stage}.{block}"
                names += [f"{prefix}.conv{index}.weight", f"{prefix}.bn{index}.weight", f"{prefix}.bn{index}.bias"]
            if block == 0 and (stage > 1 or convolutions == 3):
                names += [f"{prefix}.downsample.0.weight"] + [
                    f"{prefix}.downsample.1.{kind}" for kind in ("weight", "bias")
                ]
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize(
    ("name", "depths", "convolutions"),
    [("resnet20", (3, 3, 3), 2), ("resnet18", (2, 2, 2, 2), 2), ("resnet50", (3, 4, 6, 3), 3)],
)
def test_residual_networks_have_torchvision_names_in_order(name, depths, convolutions):
    assert [key for key, _ in models.build(name).named_parameters()] == torchvision_names(depths, convolutions)


def test_deit_has_timm_names():
    names = set(models.build("deit_small").state_dict())
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    expected = {f"blocks.{i}.{part}.{kind}" for i in range(12) for part in block for kind in ("weight", "bias")}
    expected |= {f"{part}.{kind}" for part in ("patch_embed.proj", "norm", "head") for kind in ("weight", "bias")}
    assert names == expected | {"cls_token", "pos_embed"}


@pytest.mark.parametrize("name", models.MODELS)
def test_logits_have_the_shape_asked_for(name):
    model = models.build(name, in_channels=1, image_size=8, num_classes=7)
    if isinstance(model, models.GPT):
        assert model(torch.randint(7, (2, 5))).shape == (2, 5, 7)
    else:
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 7)


@pytest.mark.parametrize("name", ["cnn", "deit_small"])
def test_second_derivatives_exist(name):
    model = models.build(name, in_channels=1, image_size=8)
    weight = model.get_parameter("conv2.weight" if name == "cnn" else "blocks.0.attn.qkv.weight")
    (g,) = torch.autograd.grad(model(torch.rand(4, 1, 8, 8)).pow(2).sum(), weight, create_graph=True)
    (h,) = torch.autograd.grad(g.pow(2).sum(), weight)
    assert h.abs().sum() > 0


def test_weights_come_from_the_seed_and_the_global_random_state_is_kept():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = models.build("cnn", seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    again, other = models.build("cnn", seed=1).state_dict(), models.build("cnn", seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.fixture
def own_module(monkeypatch):
    module = types.ModuleType("own_networks")
    module.wide = lambda num_classes, width=5: nn.Linear(width, num_classes)
    module.small = lambda num_classes, image_size=9: nn.Linear(image_size**2, num_classes)
    module.fixed = lambda: nn.Linear(2, 2)
    module.wrong = lambda: 3
    module.demanding = lambda depth: nn.Linear(depth, 1)
    monkeypatch.setitem(sys.modules, "own_networks", module)


@pytest.mark.usefixtures("own_module")
def test_a_users_callable_gets_the_sizes_that_it_names():
    assert models.build("own_networks:wide", num_classes=4).weight.shape == (4, 5)
    assert models.build("own_networks:fixed", num_classes=4).weight.shape == (2, 2)
    assert models.published_sizes("own_networks:small") == {"in_channels": 3, "image_size": 9, "num_classes": 10}
    assert models.build("own_networks:small").weight.shape == (10, 81)


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet21", "did you mean resnet20"),
        ("own_networks:wride", "did you mean wide"),
        ("own_networks:wrong", "returned int"),
        ("own_networks:demanding", "depth"),
        ("no_such_module:build", "no_such_module"),
        (":build", "importable"),
    ],
)
def test_a_wrong_name_is_refused_in_one_line(name, words):
    with pytest.raises(InputError, match=words) as refusal:
        models.build(name)
    assert "\n" not in str(refusal.value)


def test_images_that_patches_do_not_tile_are_refused():
    with pytest.raises(InputError, match="multiple of the patch size 16"):
        models.build("deit_small", image_size=225)
