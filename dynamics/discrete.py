"""The maps that training really runs at d = 1: gradient descent, SGD, momentum, Adam, weight decay, Sign-In resets."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import sympy as sp
import torch
from numpy.typing import ArrayLike, NDArray

from commons import broadcast, number, refuse
from dynamics.outcome import Outcome
from dynamics.results import Report
from dynamics.rules import Adam, HeavyBall, Rule
from theory import reset
from theory.flows import Flow, SignIn, SignInSignDescent, Standard
from theory.neuron import A, W, loss_negative, loss_positive

BOUND = 1e6
STEPS_A_REPORT = 16
Slopes = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Recipe:
    """How steps are taken, and from when on aw counts as 1; the fields are arguments of `gradient_descent`.

    rule(weights): what turns the slopes of weights into a direction.
    report(done, of): called now and then, with steps.
    """

    flow: Flow
    steps: int
    rule: Callable[[list[torch.Tensor]], Rule]
    decoupled: bool
    tolerance: float
    report: Report | None = None


@dataclass(frozen=True)
class Descent:
    """Where each start is after the last step; all arrays have the shape to which the arguments broadcast.

    outcome: int8. RECOVERED: aw is within `tolerance` of 1, and w > 0. STUCK: |aw| ≤ `tolerance`, and w ≤ 0.
        DIVERGED: a weight is beyond 1e6 or not finite. SADDLE: both weights are below 1e-6. All else is UNDECIDED.
    a, w: float64, the weights.
    beta_a, beta_w: float64, m² − w² of the factors of a and of w; nan for the standard form.
    """

    outcome: NDArray[np.int8]
    a: NDArray[np.float64]
    w: NDArray[np.float64]
    beta_a: NDArray[np.float64]
    beta_w: NDArray[np.float64]


def gradient_descent(
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    lr: ArrayLike,
    steps: int,
    flow: Flow | None = None,
    momentum: float = 0.0,
    weight_decay: ArrayLike = 0.0,
    decoupled: bool = False,
    reset_every: ArrayLike = 0,
    tolerance: float = 0.1,
    report: Report | None = None,
) -> Descent:
    """Take steps of gradient descent on the population loss, θ ← θ − lr(∇L + λθ), also with heavy-ball momentum.

    a0, w0, lr, weight_decay, reset_every: arrays that broadcast; weight_decay is λ.
    flow: Standard(), which None stands for, or SignIn, whose factors then take the steps.
    decoupled: decay the weights by θ ← (1 − lr·λ)θ beside the step, as AdamW does.
    reset_every: the steps between resets of the factors to their β, 0 for never. A reset also empties the momentum.
    tolerance: how far from 1 aw may be to count as recovered.
    report(done, of): called now and then, with steps.

    Raises:
        InputError: a value that is not finite or out of its range; a flow without a discrete form here.
    """
    columns = broadcast(a0=a0, w0=w0, lr=lr, weight_decay=weight_decay, reset_every=reset_every)
    recipe = Recipe(
        flow or Standard(), steps, lambda weights: HeavyBall(weights, momentum), decoupled, tolerance, report
    )
    return _descend(columns, _population, recipe)


def adam(
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    lr: ArrayLike,
    steps: int,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: ArrayLike = 1e-8,
    flow: Flow | None = None,
    weight_decay: ArrayLike = 0.0,
    reset_every: ArrayLike = 0,
    tolerance: float = 0.1,
    report: Report | None = None,
) -> Descent:
    """Take steps of AdamW on the population loss.

    At betas = (0, 0) and eps = 0 they are those of sign descent, θ ← θ − lr·sign(∇L), and at a large eps those of
    gradient descent with learning rate lr/eps.

    betas, eps: of Adam, whose averages and clocks a reset begins anew; eps is an array that broadcasts with the starts.
    weight_decay: decoupled.
    flow: Standard(), SignIn, or SignInSignDescent with q = 1, whose factors begin at |m| − |w| = λ.
    The other arguments, and what is raised, are as of `gradient_descent`.
    """
    *columns, small = broadcast(a0=a0, w0=w0, lr=lr, weight_decay=weight_decay, reset_every=reset_every, eps=eps)
    if (small < 0).any():
        refuse("eps", float(small.min()), "at least 0")
    each = torch.as_tensor(small.ravel())
    recipe = Recipe(flow or Standard(), steps, lambda weights: Adam(weights, betas, each), True, tolerance, report)
    return _descend(columns, _population, recipe)


def _population(count: int) -> tuple[torch.Tensor, ...]:
    half, zero = torch.tensor(0.5, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    return half, half, zero, zero


def sgd(
    a0: ArrayLike,
    w0: ArrayLike,
    *,
    lr: ArrayLike,
    steps: int,
    batch: int = 8,
    label_noise: ArrayLike = 0.0,
    seed: int = 0,
    flow: Flow | None = None,
    momentum: float = 0.0,
    weight_decay: ArrayLike = 0.0,
    decoupled: bool = False,
    reset_every: ArrayLike = 0,
    tolerance: float = 0.1,
    report: Report | None = None,
) -> Descent:
    """Take steps of SGD: in each step every start draws `batch` fresh inputs x ~ N(0, 1) with noisy labels.

    The labels are relu(x) + label_noise·N(0, 1). In the gradient the mean of x²[x > 0] over the batch, or of x²[x < 0]
    for w < 0, takes the place of ½; the noise adds the mean of εx over the same inputs, which is normal given x.

    batch: inputs of a start in a step.   label_noise: an array that broadcasts with the starts.   seed: of the draws.
    The other arguments, and what is raised, are as of `gradient_descent`.
    """
    number("batch", batch, at_least=1, integer=True)
    generator = torch.Generator().manual_seed(int(number("seed", seed, at_least=0, integer=True)))
    *columns, noises = broadcast(
        a0=a0, w0=w0, lr=lr, weight_decay=weight_decay, reset_every=reset_every, label_noise=label_noise
    )  # fmt: skip
    if (noises < 0).any():
        refuse("label_noise", float(noises.min()), "at least 0")
    spread = torch.as_tensor(noises.ravel())

    def sides(count: int) -> tuple[torch.Tensor, ...]:
        x = torch.randn(batch, count, generator=generator, dtype=torch.float64)
        up, down = x.clamp_min(0).square().mean(0), x.clamp_max(0).square().mean(0)
        noise = torch.randn(count, generator=generator, dtype=torch.float64) * spread
        return up, down, noise * (up / batch).sqrt(), -noise * (down / batch).sqrt()

    recipe = Recipe(
        flow or Standard(), steps, lambda weights: HeavyBall(weights, momentum), decoupled, tolerance, report
    )
    return _descend(columns, sides, recipe)


def _descend(
    columns: list[NDArray[np.float64]], sides: Callable[[int], tuple[torch.Tensor, ...]], recipe: Recipe
) -> Descent:
    """Take the steps.

    columns: a₀, w₀, learning rate, weight decay and reset period, of one shape.
    sides(N): what `_gradient` needs to know of each start's batch.
    """
    steps = int(number("steps", recipe.steps, at_least=0, integer=True))
    number("tolerance", recipe.tolerance, above=0, below=1)
    for name, value in zip(("lr", "weight_decay", "reset_every"), columns[2:], strict=True):
        if (value < 0).any():
            refuse(name, float(value.min()), "at least 0")
    if (columns[4] % 1 != 0).any():
        refuse("reset_every", float(columns[4][columns[4] % 1 != 0][0]), "an integer")
    shape = columns[0].shape
    a, w, rate, decay, period = (torch.as_tensor(x.copy().reshape(-1)) for x in columns)
    form = _form(recipe.flow)
    weights = form.write(a, w)
    rule = recipe.rule(weights)
    resets = isinstance(form, _Factors) and bool((period > 0).any())
    for count in range(1, steps + 1):
        a, w = form.read(weights)
        slopes = form.slopes(weights, *_gradient(a, w, sides(len(a))))
        for i, slope in enumerate(slopes):
            direction = rule.direction(i, slope if recipe.decoupled else slope + decay * weights[i])
            weights[i] = weights[i] * (1 - rate * decay) if recipe.decoupled else weights[i]
            weights[i] = weights[i] - rate * direction
        if resets:
            now = (period > 0) & (count % period.clamp_min(1) == 0)
            fresh = form.write(*form.read(weights))
            weights = [torch.where(now, new, old) for new, old in zip(fresh, weights, strict=True)]
            for i in range(len(weights)):
                rule.forget(i, now)
        if recipe.report is not None and (count % STEPS_A_REPORT == 0 or count == steps):
            recipe.report(count, steps)
    a, w = form.read(weights)
    betas = form.betas(weights)
    arrays = [x.numpy().reshape(shape) for x in (_outcome(a, w, recipe.tolerance), a, w, *betas)]
    return Descent(*arrays)


def _gradient(a: torch.Tensor, w: torch.Tensor, sides: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """∂L/∂a and ∂L/∂w on one batch, each (N,); both are 0 at w = 0, since relu′(0) = 0.

    sides: the mean of x² over the batch's x > 0 and over its x < 0, which replace the ½ of the population, and the mean
        of x times the label noise over each; all (N,) or scalars.
    """
    up, down, noise_up, noise_down = sides
    positive, negative = w > 0, w < 0
    weight = torch.where(positive, 2 * up, torch.where(negative, 2 * down, 0.0))
    noise = torch.where(positive, noise_up, torch.where(negative, noise_down, 0.0))
    right, left = SLOPES[1](a, w), SLOPES[-1](a, w)
    slope_a, slope_w = (weight * torch.where(positive, r, s) for r, s in zip(right, left, strict=True))
    return slope_a - noise * w, slope_w - noise * a


def _slopes(loss: sp.Expr) -> Slopes:
    function: Slopes = sp.lambdify([A, W], [loss.diff(A), loss.diff(W)], modules="torch", cse=True)
    return function


SLOPES = {1: _slopes(loss_positive(A, W)), -1: _slopes(loss_negative(A, W))}
"""The derivatives of the population loss in a and w, for w > 0 and for w < 0, as functions of tensors."""


class _Plain:
    """The weights themselves take the steps."""

    def write(self, a: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [a, w]

    def read(self, weights: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[0], weights[1]

    def slopes(self, weights: list[torch.Tensor], slope_a: torch.Tensor, slope_w: torch.Tensor) -> list[torch.Tensor]:
        return [slope_a, slope_w]

    def betas(self, weights: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        nothing = torch.full_like(weights[0], torch.nan)
        return nothing, nothing


@dataclass(frozen=True)
class _Factors(_Plain):
    """The factors of a = m·w and of w = m·w take the steps."""

    flow: SignIn

    def write(self, a: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [*reset(a, self.flow.beta_a, xp=torch), *reset(w, self.flow.beta_w, xp=torch)]

    def read(self, weights: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[0] * weights[1], weights[2] * weights[3]

    def slopes(self, weights: list[torch.Tensor], slope_a: torch.Tensor, slope_w: torch.Tensor) -> list[torch.Tensor]:
        m_a, w_a, m_w, w_w = weights
        return [slope_a * w_a, slope_a * m_a, slope_w * w_w, slope_w * m_w]

    def betas(self, weights: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        m_a, w_a, m_w, w_w = weights
        return (m_a - w_a) * (m_a + w_a), (m_w - w_w) * (m_w + w_w)


@dataclass(frozen=True)
class _SignFactors(_Factors):
    """The same from |m| − |w| = λ on, which sign descent keeps."""

    flow: SignInSignDescent  # type: ignore[assignment]

    def write(self, a: torch.Tensor, w: torch.Tensor) -> list[torch.Tensor]:
        return [*_apart(a, self.flow.lambda_a), *_apart(w, self.flow.lambda_w)]


def _apart(theta: torch.Tensor, difference: float) -> tuple[torch.Tensor, torch.Tensor]:
    """m > 0 and w with m w = θ and m − |w| = difference."""
    m = ((4 * theta.abs() + difference**2).sqrt() + difference) / 2
    return m, theta / m


def _form(flow: Flow) -> _Plain:
    if isinstance(flow, SignIn):
        return _Factors(flow)
    if isinstance(flow, SignInSignDescent) and flow.q == 1:
        return _SignFactors(flow)
    if not isinstance(flow, Standard):
        refuse("flow", flow, "Standard(), SignIn(...) or SignInSignDescent(...), the flows with a discrete form here")
    return _Plain()


def _outcome(a: torch.Tensor, w: torch.Tensor, tolerance: float) -> torch.Tensor:
    product = a * w
    code = torch.full_like(a, Outcome.UNDECIDED, dtype=torch.int8)
    code[(w <= 0) & (product.abs() <= tolerance)] = Outcome.STUCK
    code[(w > 0) & ((product - 1).abs() <= tolerance)] = Outcome.RECOVERED
    code[(a.abs() < 1e-6) & (w.abs() < 1e-6)] = Outcome.SADDLE
    code[~((a.abs() < BOUND) & (w.abs() < BOUND))] = Outcome.DIVERGED
    return code
