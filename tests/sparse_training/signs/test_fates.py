"""Flips told apart: raw, effective, settled and transient ones, by the size that a weight began with."""

import pytest
import torch

from commons import InputError
from sparse_training.signs import Fates, fates


def path(*values: float) -> list[float]:
    return list(values)


def test_each_kind_of_flip_is_counted_as_what_it_is() -> None:
    weights = torch.tensor(
        [
            path(1, 1, 1, 1, 1),  # never flips
            path(1, -1, -1, -1, -1),  # flips early and stays
            path(1, 1, 1, 1, -1),  # flips at the end
            path(1, -1, -1, 1, 1),  # there and back
            path(0.001, -1, -1, -1, -1),  # began near 0
            path(1, -1, -1, -1, -0.001),  # ends near 0
            path(1, 0, 0, -1, -1),  # passes through an exact 0
        ]
    ).T
    mask = torch.ones(7, dtype=torch.bool)
    (found,) = fates([{"w": row} for row in weights], {"w": mask}, parts=1)
    assert found == Fates(active=7, ever=6, raw=5, effective=3, settled=3)
    assert found.shares() == {"ever": 6 / 7, "raw": 5 / 7, "effective": 3 / 7, "settled": 3 / 7}


def test_weights_are_ranked_within_their_layer_and_off_the_mask_nothing_counts() -> None:
    small, large = torch.tensor([1.0, 2, 3, 4, 9]), torch.tensor([10.0, 20, 30, 40, 90])
    ends = {"a": small * torch.tensor([-1, 1, 1, 1, -1]), "b": large * torch.tensor([1, 1, 1, -1, -1])}
    mask = torch.tensor([True, True, True, True, False])
    found = fates([{"a": small, "b": large}, ends], {"a": mask, "b": mask})
    assert [part.active for part in found] == [2, 2, 2, 2]
    assert [part.raw for part in found] == [1, 0, 0, 1]
    assert sum(found, Fates()).active == 8


def test_one_network_has_no_flips_to_count() -> None:
    with pytest.raises(InputError, match="networks=1"):
        fates([{"w": torch.ones(2)}], {"w": torch.ones(2, dtype=torch.bool)})
