"""Permute the hidden neurons of one network until its weights lie closest to another's, layer by layer.

Ainsworth, Hayase & Srinivasa 2023 (Git Re-Basin, algorithm 1, weight matching), for chains of linear layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ROUNDS = 50


def permutations(own: Sequence[Tensor], other: Sequence[Tensor]) -> list[Tensor]:
    """For each hidden layer the order (neurons,) in which the other network's neurons come closest to one's own.

    own, other: weights (outputs, inputs) from input to output.   Each order in turn is the best one, given its
    neighbours, until none changes: a local optimum.
    """
    from scipy.optimize import linear_sum_assignment

    orders = [torch.arange(len(w)) for w in other[:-1]]
    for _ in range(ROUNDS):
        changed = False
        for layer, order in enumerate(orders):
            before = other[layer] if layer == 0 else other[layer][:, orders[layer - 1]]
            after = other[layer + 1]
            if layer + 1 < len(orders):
                after = after[orders[layer + 1]]
            likeness = own[layer] @ before.T + own[layer + 1].T @ after
            best = torch.as_tensor(linear_sum_assignment(likeness.double().numpy(), maximize=True)[1])
            changed = changed or not torch.equal(best, order)
            orders[layer] = best
        if not changed:
            break
    return orders


def permuted(weights: Sequence[Tensor], orders: Sequence[Tensor]) -> list[Tensor]:
    """The same function with its hidden neurons in these orders; weights (outputs, inputs) from input to output."""
    found = []
    for layer, w in enumerate(weights):
        w = w if layer == 0 else w[:, orders[layer - 1]]
        found.append(w[orders[layer]] if layer < len(orders) else w)
    return found
