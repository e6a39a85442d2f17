"""Counts of signs between two networks: zeros, supports that differ, networks that do not fit."""

import pytest
import torch

from commons import InputError
from sparse_training.signs import SignCounts, agreement, flips_by_layer, total


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
