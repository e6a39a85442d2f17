"""Scores: each function ranks the weights of a network by one criterion, the higher the more worth keeping.

None chooses how many to keep, and none sees the user's model: `make_masks` hands over a copy to use up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from commons.checks import InputError
from sparse_training.seeding import generator

Scores = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]

GRASP_TEMPERATURE = 200.0
SYNFLOW_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class Setting:
    """What a criterion may look at.

    model: a copy of the network, to use up. weights: its prunable weights by name. loss(logits, y): a mean over
    the batch. batch: (x, y) on the network's device; without one, x and y are empty tensors.
    """

    model: nn.Module
    weights: dict[str, Tensor]
    batch: Batch
    loss: Loss
    seed: int


@dataclass(frozen=True)
class Criterion:
    """A score, and how it is used.

    iterations: with n > 1, step k of n scores what step k - 1 left and prunes it to density^(k/n).
    """

    score: Callable[[Setting], Scores]
    needs_batch: bool = False
    iterations: int = 1


def random(setting: Setting) -> Scores:
    """Uniform on [0, 1), float64, drawn on the CPU so that the masks do not depend on the device."""
    stream = generator(setting.seed, "masks")
    return {
        name: torch.rand(weight.shape, generator=stream, dtype=torch.float64).to(weight.device)
        for name, weight in setting.weights.items()
    }


def magnitude(setting: Setting) -> Scores:
    """|θ| (Han et al. 2015, section 3)."""
    return {name: weight.detach().abs() for name, weight in setting.weights.items()}


def snip(setting: Setting) -> Scores:
    """|g ⊙ θ|, g = ∂loss/∂θ on the batch in training mode (Lee et al. 2019, eq. 6, without its constant divisor)."""
    gradients = _gradients(_batch_loss(setting, temperature=1.0), setting)
    return {name: (g * setting.weights[name]).detach().abs() for name, g in gradients.items()}


def grasp(setting: Setting) -> Scores:
    """θ ⊙ Hg, the negative of S(−θ) = −θ ⊙ Hg whose highest entries are pruned (Wang et al. 2020, eq. 8).

    H and g are of the loss of logits / T, T = 200, on the batch in training mode, over the prunable weights.
    """
    gradients = _gradients(_batch_loss(setting, GRASP_TEMPERATURE), setting, differentiable=True)
    half_norm = sum((g * g.detach()).sum() for g in gradients.values())  # its gradient is Hg
    assert isinstance(half_norm, Tensor)
    products = _gradients(half_norm, setting)
    return {name: (setting.weights[name] * product).detach() for name, product in products.items()}


def synflow(setting: Setting) -> Scores:
    """∂R/∂|θ| ⊙ |θ|, R = the sum of outputs for an input of ones (Tanaka et al. 2020, eq. 2 and algorithm 1).

    In float64 and evaluation mode, with every parameter replaced by its absolute value; only the shape of x is used.

    Raises:
        InputError: a negative score, from a layer that is no positive homogeneous map of nonnegative inputs.
    """
    model = setting.model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    x = torch.ones_like(setting.batch[0][:1], dtype=torch.float64)
    gradients = _gradients(model(x).sum(), setting)
    scores = {name: (g * setting.weights[name]).detach() for name, g in gradients.items()}
    for name, score in scores.items():
        if bool((score < 0).any()):
            raise InputError(
                f"score='synflow' is negative in {name}: it is defined for linear layers with rectifiers, not for "
                "attention or layer normalisation; use snip, grasp, magnitude or random"
            )
    return scores


def _batch_loss(setting: Setting, temperature: float) -> Tensor:
    x, y = setting.batch
    return setting.loss(setting.model.train()(x) / temperature, y)


def _gradients(output: Tensor, setting: Setting, differentiable: bool = False) -> Scores:
    weights: Sequence[Tensor] = list(setting.weights.values())
    gradients = torch.autograd.grad(output, weights, create_graph=differentiable, materialize_grads=True)
    return dict(zip(setting.weights, gradients, strict=True))


SCORES: dict[str, Criterion] = {
    "random": Criterion(random),
    "magnitude": Criterion(magnitude),
    "snip": Criterion(snip, needs_batch=True),
    "grasp": Criterion(grasp, needs_batch=True),
    "synflow": Criterion(synflow, needs_batch=True, iterations=SYNFLOW_ITERATIONS),
}
