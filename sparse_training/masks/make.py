"""`make_masks`: one score and one distribution, put together on a copy of the network."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

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
from sparse_training.masks.inputs import placed
from sparse_training.masks.matrices import apart, axes_by_name, check_real, together
from sparse_training.masks.scores import SCORES, Criterion, Forward, Loss, Scores, Setting
from sparse_training.masks.selection import prunable, warn_of_passed_over
from sparse_training.masks.value import Masks
from sparse_training.seeding import derive, isolated


def make_masks(
    model: nn.Module,
    density: float,
    score: str,
    distribution: str = "global",
    batch: Any = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
    *,
    forward: Forward | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Masks:
    """Masks that keep round(density · N) of the N prunable weights, exactly, on the model's device.

    density: in (0, 1], over the prunable weights; `Masks.density_in(model)` counts over all parameters.
    score: a name in `SCORES`, or "package.module:callable". distribution: as in `from_scores`. batch: (x, y), for a
    score that needs it (snip and grasp differentiate on it, probes train) or only the shape of x (synflow).
    loss(logits, y): a mean over the batch. seed: of random masks and of what a score draws. include, exclude: as in
    `prunable`.

    forward: for a network that takes or returns something else than tensors: forward(model, batch) is then the loss
    that snip and grasp differentiate, for grasp of logits that it divides by 200, and for synflow the outputs, whose
    sum counts; `loss` is not read, and batch is whatever forward takes.

    Each matrix of a stack, such as an expert, counts as a layer where a distribution asks for layers. What could be a
    matrix and is not pruned is named in a `PassedOver` warning, unless include says what is. A layer that ends empty is
    named in an `EmptyLayer` warning. The model's parameters, buffers, mode, requires_grad and gradients and the random
    state stay bit-identical. Scores are computed without TF32, so that they rank the weights alike on every device. See
    README.md for the papers and their equations.

    Raises:
        InputError: an unknown name, a density out of range, a missing batch, a weight without values, or
            scores that are not finite or not of the weights' names and shapes.
    """
    criterion = SCORES.find("score", score)
    check_request(density, distribution)
    if criterion.needs != "nothing" and batch is None:
        refuse("batch", None, f"a batch (x, y), which score={score!r} needs")
    if forward is None and batch is not None and not (isinstance(batch, tuple | list) and len(batch) == 2):
        hint = "of a network that takes something else, forward=lambda model, batch: ... gives the loss"
        refuse("batch", type(batch).__name__, "a pair (x, y)", hint)
    pruned = prunable(model, include, exclude)
    check_real(pruned)
    probe = copy.deepcopy(model)
    weights = {name: probe.get_parameter(name).requires_grad_() for name in pruned}
    device = next(iter(weights.values())).device
    setting = Setting(probe, weights, placed(batch, device), loss, seed, criterion.needs, forward)
    axes = axes_by_name(model)
    with isolated(derive(seed, "scoring")), float32_products(), torch.enable_grad():
        masks = _prune(setting, criterion, density, distribution, axes)
    warn_of_empty_layers(masks)
    if not include:
        warn_of_passed_over(model)
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


def _prune(setting: Setting, criterion: Criterion, density: float, distribution: str, axes: Mapping[str, str]) -> Masks:
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
        masks = _select(scores, density ** (step / steps), distribution, axes)
        with torch.no_grad():
            for name, mask in masks.items():
                setting.weights[name].mul_(mask)
    assert masks is not None
    return masks


def _select(scores: Scores, density: float, distribution: str, axes: Mapping[str, str]) -> Masks:
    """`distributions.select` of the matrices that the scores belong to."""
    flip = n_of_m(distribution) is not None
    found = select(apart(scores, axes, flip), density, distribution)
    return Masks(together(found, scores, axes, flip))
