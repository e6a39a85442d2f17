"""Counts of signs between two networks: zeros, supports that differ, networks that do not fit."""

import pytest
import torch

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.masks import Masks
from sparse_training.signs import SignCounts, agreement, flips_by_layer, total
from sparse_training.signs.packed import pack_signs


def test_a_zero_neither_agrees_nor_flips():
    before = {"w": torch.tensor([1.0, -1.0, 0.0, 0.0, 2.0])}
    after = {"w": torch.tensor([3.0, 1.0, 1.0, 0.0, 0.0])}
    assert flips_by_layer(before, after) == {"w": SignCounts(active=5, same=1, flipped=1, zero=3)}
    assert agreement(before, after) == 0.2


def test_only_weights_active_at_both_ends_count():
    before, after = {"w": torch.tensor([1.0, 1.0, -1.0])}, {"w": torch.tensor([-1.0, -1.0, 1.0])}
    start, end = {"w": torch.tensor([True, True, False])}, {"w": torch.tensor([True, False, True])}
    assert flips_by_layer(before, after, start, end)["w"] == SignCounts(1, 0, 1, 0)
    assert flips_by_layer(before, after, start)["w"] == SignCounts(2, 0, 2, 0)


def test_layers_keep_their_order_and_sum():
    layers = {name: torch.ones(n) for name, n in (("z", 3), ("a", 2), ("m", 1))}
    counts = flips_by_layer(layers, layers)
    assert list(counts) == ["z", "a", "m"]
    assert total(counts.values()) == SignCounts(6, 6, 0, 0)


def test_a_network_that_does_not_fit_is_refused_by_name():
    one = {"conv1.weight": torch.ones(3)}
    with pytest.raises(InputError, match=r"did you mean conv2\.weight"):
        flips_by_layer(one, {"conv2.weight": torch.ones(3)})
    with pytest.raises(InputError, match=r"after\[conv1\.weight\]=\(2,\) is not of shape \(3,\)"):
        flips_by_layer(one, {"conv1.weight": torch.ones(2)})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_weight_that_is_not_a_number_has_no_sign(dtype):
    """It is not counted among the zeros, and a history does not take it for positive."""
    one, nan = torch.tensor([[1.0, -1.0]], dtype=dtype), torch.tensor([[1.0, torch.nan]], dtype=dtype)
    for before, after in ((one, nan), (nan, one)):
        with pytest.raises(InputError, match=r"^w: 1 of 2 active weights are not a number"):
            flips_by_layer({"w": before}, {"w": after})
    active = {"w": torch.tensor([[True, False]])}
    assert flips_by_layer({"w": one}, {"w": nan}, active) == {"w": SignCounts(1, 1, 0, 0)}
    with pytest.raises(InputError, match="weight of w is not a number"):
        pack_signs({"v": one, "w": nan})
    assert pack_signs({"w": nan}, active) == pack_signs({"w": one}, active)


def test_masks_that_do_not_fit_are_refused_by_name():
    one = {"w": torch.ones(3, 5)}
    for masks, told in (
        ({"v": torch.ones(3, 5).bool()}, r"masks='v' is not a layer of the network"),
        ({"w": torch.ones(5).bool()}, r"masks\[w\]=\(5,\) is not of the shape \(3, 5\)"),
        ({"w": torch.ones(5, 3).bool()}, r"masks\[w\]=\(5, 3\) is not of the shape \(3, 5\)"),
    ):
        with pytest.raises(InputError, match=told):
            flips_by_layer(one, one, masks)
    with pytest.raises(InputError, match=r"masks_after=\['v'\] is not masks with the layer w"):
        flips_by_layer(one, one, None, {"v": torch.ones(3, 5).bool()})


def test_the_command_refuses_a_file_of_other_masks(tmp_path, capsys):
    for name in ("a.pt", "b.pt"):
        torch.save({"layer.weight": torch.ones(3, 5)}, tmp_path / name)
    for masks, told in (
        ({"leyer.weight": torch.ones(3, 5).bool()}, "did you mean layer.weight?"),
        ({"layer.weight": torch.ones(5).bool()}, "is not of the shape (3, 5) of the weight"),
    ):
        Masks(masks).save(tmp_path / "masks.safetensors")
        paths = [str(tmp_path / name) for name in ("a.pt", "b.pt", "masks.safetensors")]
        with pytest.raises(SystemExit):
            parser().execute(["signs", *paths[:2], "--masks", paths[2]])
        assert told in capsys.readouterr().err
