"""Matching finds a permutation that was applied, and permuting leaves the function as it is."""

from itertools import pairwise

import torch

from sparse_training.problems.matching import permutations, permuted
from sparse_training.problems.networks import outputs


def test_a_hidden_permutation_is_found_and_changes_no_output() -> None:
    stream = torch.Generator().manual_seed(0)
    sizes = (9, 12, 7, 3)
    weights = [torch.randn(o, i, generator=stream) for i, o in pairwise(sizes)]
    orders = [torch.randperm(n, generator=stream) for n in sizes[1:-1]]
    mixed = permuted(weights, orders)
    x = torch.randn(20, 9, generator=stream)
    torch.testing.assert_close(outputs(mixed, x), outputs(weights, x))
    assert not all(torch.equal(a, b) for a, b in zip(mixed, weights, strict=True))
    back = permuted(mixed, permutations(weights, mixed))
    assert all(torch.equal(a, b) for a, b in zip(back, weights, strict=True))
