"""`make_masks`: one score and one distribution, put together on a copy of the network.

The network itself, its gradients and the random state are never touched.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from commons.checks import choice
from sparse_training.masks.distributions import check_request, from_scores
from sparse_training.masks.prunable import prunable
from sparse_training.masks.scores import SCORES, Batch, Loss, Setting
from sparse_training.masks.value import Masks
from sparse_training.seeding import derive, isolated


def make_masks(
    model: nn.Module,
    density: float,
    score: str,
    distribution: str = "global",
    batch: Batch | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Masks:
    choice("score", score, SCORES)
    check_request(density, distribution)
    names = list(prunable(model, include, exclude))
    probe = copy.deepcopy(model)
    weights = {name: probe.get_parameter(name) for name in names}
    setting = Setting(probe, weights, batch, loss, seed)
    with isolated(derive(seed, "scoring")), torch.enable_grad():
        scores = SCORES[score](setting)
    return from_scores(scores, density, distribution)
