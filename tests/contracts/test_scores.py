"""The contract of every registered score with every registered distribution; who registers one gets it for free.

Masks have the exact number of weights, are the same each time, and scoring them leaves no trace in the network.
"""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from commons import InputError
from sparse_training.masks import DISTRIBUTIONS, SCORES, Criterion, EmptyLayer, Setting, make_masks, prunable
from sparse_training.masks.scores import NEEDS, Needs, Scores

Batch = tuple[Tensor, Tensor]


@pytest.fixture
def network() -> tuple[nn.Module, Batch]:
    """Convolution, both normalisations, dropout and a linear layer, with everything set that scoring could disturb."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(24, 9),
        nn.Linear(9, 3),
    )
    batch = torch.rand(8, 2, 4, 4), torch.arange(8) % 3
    nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
    model[0].weight.requires_grad_(False)
    model[5].weight.grad = None
    for index, module in enumerate(model.modules()):
        module.training = index % 2 == 0
    return model, batch


def fingerprint(model: nn.Module) -> dict[str, Any]:
    """Every bit that scoring must not change: tensors and their identity, gradients, flags, modes, random states."""
    parameters = dict(model.named_parameters())
    return {
        "values": {
            name: (id(t), t.dtype, t.detach().numpy().tobytes())
            for name, t in {**parameters, **dict(model.named_buffers())}.items()
        },
        "gradients": {name: None if p.grad is None else p.grad.numpy().tobytes() for name, p in parameters.items()},
        "requires_grad": {name: p.requires_grad for name, p in parameters.items()},
        "modes": [module.training for module in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "random": (torch.get_rng_state().numpy().tobytes(), random.getstate(), repr(np.random.get_state())),  # noqa: NPY002
        "gradients are on": torch.is_grad_enabled(),
    }


def masks_of(score: str, model: nn.Module, batch: Batch, density: float, distribution: str, seed: int = 5) -> Any:
    """The masks, with no more of the input than the criterion says that it needs."""
    given = {"nothing": None, "shapes": (torch.full_like(batch[0], torch.nan), batch[1]), "batch": batch}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayer)
        return make_masks(model, density, score, distribution, batch=given[SCORES[score].needs], seed=seed)


@pytest.mark.parametrize("distribution", [*DISTRIBUTIONS, "2:4"])
@pytest.mark.parametrize("score", SCORES)
def test_counts_are_exact_repeatable_and_scoring_leaves_no_trace(
    score: str, distribution: str, network: tuple[nn.Module, Batch]
) -> None:
    model, batch = network
    total = sum(weight.numel() for weight in prunable(model).values())
    for density in (0.5,) if distribution == "2:4" else (1.0, 0.37, 0.01):
        before = fingerprint(model)
        with torch.no_grad():  # as a user may call it
            masks = masks_of(score, model, batch, density, distribution)
        assert fingerprint(model) == before
        assert masks.active == max(1, round(density * total))
        assert list(masks) == list(prunable(model))
        masks.check(model)
        assert masks == masks_of(score, model, batch, density, distribution)


@pytest.mark.parametrize("score", SCORES)
def test_masks_do_not_depend_on_the_mode_of_the_network(score: str, network: tuple[nn.Module, Batch]) -> None:
    model, batch = network
    assert masks_of(score, model.train(), batch, 0.3, "global") == masks_of(score, model.eval(), batch, 0.3, "global")


@pytest.mark.parametrize("score", [name for name, criterion in SCORES.items() if criterion.needs != "nothing"])
def test_a_score_that_needs_the_input_is_refused_without(score: str, network: tuple[nn.Module, Batch]) -> None:
    with pytest.raises(InputError, match="batch=None"):
        make_masks(network[0], 0.3, score)


def reads_batch(setting: Setting) -> Scores:
    return {name: weight.detach() * setting.batch[0].mean() for name, weight in setting.weights.items()}


def reads_shape(setting: Setting) -> Scores:
    return {name: weight.detach() * setting.input_shape[0] for name, weight in setting.weights.items()}


@pytest.mark.parametrize(("function", "least"), [(reads_batch, "batch"), (reads_shape, "shapes")])
@pytest.mark.parametrize("said", NEEDS)
def test_a_score_gets_what_its_criterion_says_and_no_more(
    function: Callable[[Setting], Scores],
    least: Needs,
    said: Needs,
    network: tuple[nn.Module, Batch],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, batch = network
    monkeypatch.setitem(SCORES, "own", Criterion(function, needs=said))
    if NEEDS.index(said) >= NEEDS.index(least):
        assert make_masks(model, 0.3, "own", batch=batch).active
    else:
        with pytest.raises(InputError, match=f"needs='{least}'"):
            make_masks(model, 0.3, "own", batch=batch)


def test_scores_of_other_names_or_shapes_are_refused(
    network: tuple[nn.Module, Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (lambda s: {}, lambda s: {name: w.detach().flatten() for name, w in s.weights.items()}):
        monkeypatch.setitem(SCORES, "own", Criterion(wrong))
        with pytest.raises(InputError, match="of its name and shape"):
            make_masks(network[0], 0.3, "own")
