"""`make_masks`: one score and one distribution, put together on a copy of the network.

The network itself, its gradients and the random state are never touched.
"""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from commons.checks import InputError, choice, refuse
from sparse_training.masks.distributions import check_request, n_of_m, select, warn_of_empty_layers
from sparse_training.masks.scores import SCORES, Batch, Criterion, Loss, Setting
from sparse_training.masks.selection import prunable
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
    """Masks that keep round(density · N) of the N prunable weights, exactly, on the model's device.

    density: in (0, 1], over the prunable weights; `Masks.density_in(model)` counts over all parameters.
    score: one of `SCORES`. distribution: as in `from_scores`. batch: (x, y), which snip and grasp differentiate the
    loss on and of which synflow takes the shape. loss(logits, y): a mean. include, exclude: as in `prunable`.
    The model's parameters, buffers, mode, requires_grad and gradients and the random state stay bit-identical. A
    layer that ends empty is named in an `EmptyLayer` warning. See README.md for the papers and their equations.

    Raises:
        InputError: an unknown name, a density out of range, a missing batch, or scores that are not finite.
    """
    criterion = SCORES[choice("score", score, SCORES)]
    check_request(density, distribution)
    if criterion.needs_batch and batch is None:
        refuse("batch", None, f"a batch (x, y), which score={score!r} needs")
    if batch is not None and not (isinstance(batch, tuple | list) and len(batch) == 2):
        refuse("batch", type(batch).__name__, "a pair (x, y)")
    names = list(prunable(model, include, exclude))
    probe = copy.deepcopy(model)
    weights = {name: probe.get_parameter(name).requires_grad_() for name in names}
    device = weights[names[0]].device
    x, y = (torch.empty(0), torch.empty(0)) if batch is None else batch
    setting = Setting(probe, weights, (x.to(device), y.to(device)), loss, seed)
    with isolated(derive(seed, "scoring")), torch.enable_grad():
        masks = _prune(setting, criterion, density, distribution)
    warn_of_empty_layers(masks)
    return masks


def _prune(setting: Setting, criterion: Criterion, density: float, distribution: str) -> Masks:
    """Score and prune in the criterion's number of steps; N:M is reached in one, as it can empty no layer."""
    steps = 1 if n_of_m(distribution) else criterion.iterations
    masks: Masks | None = None
    for step in range(1, steps + 1):
        scores = criterion.score(setting)
        for name, score in scores.items():
            if not bool(score.isfinite().all()):
                raise InputError(f"the scores of {name} are not finite; check its weights and the batch")
            if masks is not None:
                score.masked_fill_(~masks[name], -torch.inf)
        masks = select(scores, density ** (step / steps), distribution)
        with torch.no_grad():
            for name, mask in masks.items():
                setting.weights[name].mul_(mask)
    assert masks is not None
    return masks
