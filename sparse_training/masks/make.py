"""`make_masks`: one score and one distribution, put together on a copy of the network."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from commons.checks import InputError, refuse
from sparse_training.devices import float32_products
from sparse_training.masks.distributions import (
    DISTRIBUTIONS,
    check_request,
    n_of_m,
    select,
    shapes_of,
    warn_of_empty_layers,
)
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
    score: a name in `SCORES`, or "package.module:callable". distribution: as in `from_scores`. batch: (x, y), for a
    score that needs it (snip and grasp differentiate on it, probes train) or only the shape of x (synflow).
    loss(logits, y): a mean over the batch. seed: of random masks and of what a score draws. include, exclude: as in
    `prunable`. The model's parameters, buffers, mode, requires_grad and gradients and the random state stay
    bit-identical. Scores are computed without TF32, so that they rank the weights alike on every device. A layer that
    ends empty is named in an `EmptyLayer` warning. See README.md for the papers and their equations.

    Raises:
        InputError: an unknown name, a density out of range, a missing batch, or scores that are not finite or not of
            the weights' names and shapes.
    """
    criterion = SCORES.find("score", score)
    check_request(density, distribution)
    if criterion.needs != "nothing" and batch is None:
        refuse("batch", None, f"a batch (x, y), which score={score!r} needs")
    if batch is not None and not (isinstance(batch, tuple | list) and len(batch) == 2):
        refuse("batch", type(batch).__name__, "a pair (x, y)")
    names = list(prunable(model, include, exclude))
    probe = copy.deepcopy(model)
    weights = {name: probe.get_parameter(name).requires_grad_() for name in names}
    device = weights[names[0]].device
    given = None if batch is None else (batch[0].to(device), batch[1].to(device))
    setting = Setting(probe, weights, given, loss, seed, criterion.needs)
    with isolated(derive(seed, "scoring")), float32_products(), torch.enable_grad():
        masks = _prune(setting, criterion, density, distribution)
    warn_of_empty_layers(masks)
    return masks


def score_and_distribution(text: str) -> tuple[str, str]:
    """The two parts of "SCORE" or "SCORE:DISTRIBUTION"; the second is empty where it is left out.

    Each may be "package.module:callable", and the distribution "N:M".
    """
    score, _, rest = text.partition(":")
    if score not in SCORES and rest not in DISTRIBUTIONS and n_of_m(rest) is None:
        attribute, _, rest = rest.partition(":")
        score = f"{score}:{attribute}" if attribute else score
    return score, rest


def _prune(setting: Setting, criterion: Criterion, density: float, distribution: str) -> Masks:
    """Score and prune in the criterion's number of steps; N:M is reached in one, as it can empty no layer."""
    steps = 1 if n_of_m(distribution) else criterion.iterations
    masks: Masks | None = None
    for step in range(1, steps + 1):
        scores = criterion.score(setting)
        if shapes_of(scores) != shapes_of(setting.weights):
            raise InputError("the score does not return one tensor for each prunable weight, of its name and shape")
        scores = {name: scores[name] for name in setting.weights}
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
