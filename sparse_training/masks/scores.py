"""Scores: each function ranks the weights of a network by one criterion, the higher the more worth keeping.

A score does not choose how many weights to keep, and it gets a copy of the network, which it may use up.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from commons.checks import InputError, choice, number, refuse
from commons.registry import Registry
from sparse_training.masks.inputs import embeddings_of_ones, ones
from sparse_training.probing import SHRINK, train_briefly
from sparse_training.seeding import generator

Scores = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Forward = Callable[[nn.Module, Any], Tensor]
Needs = Literal["nothing", "shapes", "batch"]
NEEDS: tuple[Needs, ...] = ("nothing", "shapes", "batch")

GRASP_TEMPERATURE = 200.0
SYNFLOW_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class Setting:
    """What a criterion may look at.

    model: a copy of the network, to use up. weights: its prunable weights by name. given: the batch (x, y) on the
    network's device, or what `forward` takes, or None. loss(logits, y): a mean over the batch. seed: of what the
    criterion draws. needs: what the criterion said that it needs. forward: forward(model, given) is the loss, where the
    network takes or returns something else than tensors; else None.

    Raises:
        InputError: in `batch` and `input_shape`, if the criterion did not say that it needs them.
    """

    model: nn.Module
    weights: dict[str, Tensor]
    given: Any
    loss: Loss
    seed: int
    needs: Needs = "batch"
    forward: Forward | None = None

    @property
    def batch(self) -> Batch:
        """(x, y): x (B, ...), y (B, ...)."""
        batch: Batch = self._asked("batch")
        if self.forward is not None:
            raise InputError("this score goes through samples (x, y) itself, and takes no forward")
        return batch

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the dimension of the batch."""
        return tuple(self._asked("shapes")[0].shape[1:])

    def batch_loss(self, temperature: float = 1.0) -> Tensor:
        """The loss on the batch in training mode, of logits / temperature; of `forward` as it is."""
        given = self._asked("batch")
        if self.forward is not None:
            return self.forward(self.model.train(), given)
        x, y = given
        return self.loss(self.model.train()(x) / temperature, y)

    def output_of_ones(self) -> Tensor:
        """What the network in its present mode gives for ones in place of each input, or of what embeddings give."""
        given = self._asked("shapes")
        with embeddings_of_ones(self.model):
            if self.forward is not None:
                return self.forward(self.model, ones(given, self.model))
            x = given[0][:1] if len(given[0]) else given[0].new_zeros(1, *given[0].shape[1:])
            output: Tensor = self.model(ones(x, self.model))
        return output

    def _asked(self, what: Needs) -> Any:
        if self.given is None or NEEDS.index(self.needs) < NEEDS.index(what):
            raise InputError(f"this score uses the {what} of the input; enter it as Criterion(score, needs={what!r})")
        return self.given


@dataclass(frozen=True)
class Criterion:
    """A score, and how it is used.

    score: ranks the weights; returns one tensor for each of `setting.weights`, of its shape.
    needs: "nothing" but the network, the "shapes" of its input, or a "batch" of training data.
    iterations: with n > 1, step k of n scores what step k - 1 left and prunes it to density^(k/n).

    Raises:
        InputError: an unknown need, or iterations below 1.
    """

    score: Callable[[Setting], Scores]
    needs: Needs = "nothing"
    iterations: int = 1

    def __post_init__(self) -> None:
        choice("needs", self.needs, NEEDS)
        number("iterations", self.iterations, at_least=1, integer=True)


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
    gradients = _gradients(setting.batch_loss(), setting)
    return {name: (g * setting.weights[name]).detach().abs() for name, g in gradients.items()}


def grasp(setting: Setting) -> Scores:
    """θ ⊙ Hg, the negative of S(−θ) = −θ ⊙ Hg whose highest entries are pruned (Wang et al. 2020, eq. 8).

    H and g are of the loss of logits / T, T = 200, on the batch in training mode, over the prunable weights. Attention
    runs on its mathematical kernel, since the fused ones have no second derivative.
    """
    with sdpa_kernel(SDPBackend.MATH):
        return _grasp(setting)


def _grasp(setting: Setting) -> Scores:
    gradients = _gradients(setting.batch_loss(GRASP_TEMPERATURE), setting, differentiable=True)
    half_norm = sum((g * g.detach()).sum() for g in gradients.values())  # its gradient is Hg
    assert isinstance(half_norm, Tensor)
    products = _gradients(half_norm, setting)
    return {name: (setting.weights[name] * product).detach() for name, product in products.items()}


def synflow(setting: Setting) -> Scores:
    """∂R/∂|θ| ⊙ |θ|, R = the sum of outputs for an input of ones (Tanaka et al. 2020, eq. 2 and algorithm 1).

    In float64 and evaluation mode, with every parameter replaced by its absolute value. Where the network takes
    integers, such as token ids, it starts behind the embeddings, which all give ones. A network whose R is none of
    this, as with attention, may state its own as a method `synaptic_flow()`, as `models.GPT` does.

    Raises:
        InputError: a negative score, from a layer that is no positive homogeneous map of nonnegative inputs.
    """
    model = setting.model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    own: Callable[[], Tensor] | None = getattr(model, "synaptic_flow", None)
    gradients = _gradients(setting.output_of_ones().sum() if own is None else own(), setting)
    scores = {name: (g * setting.weights[name]).detach() for name, g in gradients.items()}
    for name, score in scores.items():
        if isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding) and not bool(score.any()):
            refuse("include", name, "scored by synflow, which starts behind embeddings", "use snip, grasp or magnitude")
        if bool((score < 0).any()):
            raise InputError(
                f"score='synflow' is negative in {name}: it is defined for linear layers with rectifiers, not for "
                "attention or layer normalisation; use snip, grasp, magnitude or random"
            )
    return scores


def probe(setting: Setting) -> Scores:
    """|θ'|, where θ' is θ after a short training of the dense network.

    The probe starts from 0.3 θ, goes three times through the batch in training mode with Adam, and changes only the
    prunable weights.
    """
    x, y = setting.batch
    setting.model.train()
    with torch.no_grad():
        for weight in setting.weights.values():
            weight.mul_(SHRINK)

    def gradient(part: Tensor) -> Scores:
        part = part.to(x.device)
        return _gradients(setting.loss(setting.model(x[part]), y[part]), setting)

    train_briefly(setting.weights, gradient, len(x), generator(setting.seed, "masks", "probe"))
    return magnitude(setting)


def fitting(setting: Setting) -> Scores:
    """The score `probe` where θ' has the sign of θ, and less the largest score of all where it has another.

    So first those weights are kept that the probe makes large and that already have the sign which it gives them.
    """
    before = {name: weight.detach().clone() for name, weight in setting.weights.items()}
    scores = probe(setting)
    largest = max(float(score.max()) for score in scores.values())
    agrees = {name: setting.weights[name].detach() * weight > 0 for name, weight in before.items()}
    return {name: torch.where(agrees[name], score, score - largest) for name, score in scores.items()}


def _gradients(output: Tensor, setting: Setting, differentiable: bool = False) -> Scores:
    weights: Sequence[Tensor] = list(setting.weights.values())
    gradients = torch.autograd.grad(output, weights, create_graph=differentiable, materialize_grads=True)
    return dict(zip(setting.weights, gradients, strict=True))


def _criterion(part: object) -> Criterion | None:
    """A criterion as it is, and a function as one that needs nothing but the network."""
    if isinstance(part, Criterion):
        return part
    return Criterion(part) if callable(part) else None


SCORES: Registry[Criterion] = Registry(
    "a Criterion, or a function from Setting to scores",
    {
        "random": Criterion(random),
        "magnitude": Criterion(magnitude),
        "snip": Criterion(snip, needs="batch"),
        "grasp": Criterion(grasp, needs="batch"),
        "synflow": Criterion(synflow, needs="shapes", iterations=SYNFLOW_ITERATIONS),
        "probe": Criterion(probe, needs="batch"),
        "fitting": Criterion(fitting, needs="batch"),
    },
    accept=_criterion,
)
