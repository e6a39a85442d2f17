"""Rates of recovery over two settings at a time: metrics, learning rate, noise, weight decay, resets, dimension.

report(done, of) is called now and then by every sweep, with steps, starts or dimensions.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from commons import choice, number, refuse
from commons.statistics import wilson
from dynamics import discrete
from dynamics.discrete import gradient_descent, sgd
from dynamics.fields import half_plane
from dynamics.nd import integrate_nd
from dynamics.outcome import Outcome
from dynamics.results import Array, Report, Sweep
from dynamics.trajectories import ARRIVAL, OUTCOME_OF, follow, integrate
from dynamics.workers import Limits, Starts
from theory import escape_learning_rate
from theory.flows import Flow, SignIn, Standard

DIMENSIONS = (1, 2, 3, 5, 8, 16, 32, 64)
PART = 1 << 13  # starts that are followed between two reports
SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


class Axis(NamedTuple):
    """One of the two settings that a sweep is over: its name and its values (N,)."""

    name: str
    values: Array


def betas(*, grid: int = 33, starts: int = 8, seed: int = 0, report: Report | None = None) -> Sweep:
    """The share of balanced starts a = −w, w uniform on (0.1, 2), that Sign-In recovers, over β_a, β_w in [0.05, 2]."""
    _check(grid, starts, seed)
    axis = np.linspace(0.05, 2, grid)
    size = np.random.default_rng(seed).uniform(0.1, 2, (grid, grid, starts))
    beta_a, beta_w = (np.broadcast_to(b, size.shape).ravel() for b in (axis[:, None, None], axis[None, :, None]))
    columns = torch.as_tensor(np.stack([-size.ravel(), size.ravel()]))
    field = half_plane(SignIn(1.0, 1.0), 1)
    values = torch.as_tensor(np.stack([beta_a, beta_w]))
    last = torch.as_tensor(4 / (ARRIVAL * np.minimum(np.minimum(beta_a, beta_w), 1)))
    together, limits, reasons = Starts(columns, values, last), Limits(1e-6, 1e-9, 10_000, ARRIVAL), []
    for first in range(0, size.size, PART):
        reasons.append(follow(field, together[slice(first, first + PART)], limits)[4])
        if report is not None:
            report(min(first + PART, size.size), size.size)
    outcome = OUTCOME_OF[torch.cat(reasons).numpy().astype(np.int8)].reshape(size.shape)
    title, edge = "Sign-In from balanced a < 0 < w", [[0, 2], [0, 2]]
    return swept(title, Axis("beta_a", axis), Axis("beta_w", axis), outcome, {"seed": seed, "edge": edge}, ended=True)


def step(*, grid: int = 41, starts: int = 16, seed: int = 0, steps: int = 500, report: Report | None = None) -> Sweep:
    """The share of starts w in (−a, 0) that gradient descent recovers, over learning rate η and a.

    The wall at w = 0 opens at ηa² = 2.
    """
    _check(grid, starts, seed)
    rates, sizes = np.linspace(0.02, 4, grid), np.linspace(0.1, 4, grid)
    part = np.random.default_rng(seed).uniform(0, 1, (grid, grid, starts))
    a = np.broadcast_to(sizes[None, :, None], part.shape)
    ends = gradient_descent(a, -a * part, lr=rates[:, None, None], steps=steps, report=report)
    title = "gradient descent from a > 0 > w"
    edge = [escape_learning_rate(sizes).tolist(), sizes.tolist()]
    along = Axis("learning rate", rates), Axis("a₀", sizes)
    return swept(title, *along, ends.outcome, {"seed": seed, "steps": steps, "edge": edge})


def adam(
    *,
    grid: int = 17,
    starts: int = 64,
    seed: int = 0,
    steps: int = 2000,
    over: str = "size",
    report: Report | None = None,
) -> Sweep:
    """The share of starts that AdamW at (β₁, β₂) = (0.9, 0.999) recovers, over its learning rate and one more setting.

    The starts (a, w) are uniform on the square [−s, s]². The flow of sign descent recovers all of a, w > 0 and half of
    the starts of either pair of opposite signs, so ½; gradient flow half of a < 0 < w and none of w < 0, so 3/8.

    over: "size", s in [0.1, 3]; "eps", ε in [10⁻⁸, 1] at s = 1; or "decay", the decoupled weight decay λ in [0, 2] at
        s = 1. A step of Adam has size η at most and decay takes ηλ|θ|, so small steps end at |a| = |w| = min(1, 1/λ);
        a start counts as recovered there if aw is within ½ of 1, that is up to λ = √2.
    """
    _check(grid, starts, seed)
    axes = {
        "size": Axis("size", np.geomspace(0.1, 3, grid)),
        "eps": Axis("eps", np.geomspace(1e-8, 1, grid)),
        "decay": Axis("weight decay", np.linspace(0, 2, grid)),
    }
    second = axes[choice("over", over, axes)]
    rates, values = np.geomspace(0.01, 3, grid), second.values[None, :, None]
    size = values if over == "size" else 1.0
    start = np.random.default_rng(seed).uniform(-1, 1, (2, grid, grid, starts)) * size
    ends = discrete.adam(
        start[0], start[1], lr=rates[:, None, None], steps=steps, eps=values if over == "eps" else 1e-8,
        weight_decay=values if over == "decay" else 0.0, tolerance=0.5 if over == "decay" else 0.1, report=report,
    )  # fmt: skip
    settings = {"seed": seed, "steps": steps, "betas": [0.9, 0.999], "over": over}
    return swept("Adam from a square", Axis("learning rate", rates), second, ends.outcome, settings)


def noise(
    *,
    grid: int = 17,
    starts: int = 32,
    seed: int = 0,
    steps: int = 500,
    lr: float = 0.1,
    flow: Flow | None = None,
    report: Report | None = None,
) -> Sweep:
    """The share of balanced starts a = −w that SGD with batches of 8 recovers, over label noise and w.

    A start counts as recovered if aw is within ½ of 1 after the last step.
    """
    _check(grid, starts, seed)
    flow = flow or SignIn(1.0, 0.5)
    spreads, sizes = np.linspace(0, 4, grid), np.linspace(0.1, 2, grid)
    w = np.broadcast_to(sizes[None, :, None], (grid, grid, starts))
    ends = sgd(
        -w, w, lr=lr, steps=steps, label_noise=spreads[:, None, None], seed=seed, flow=flow, tolerance=0.5,
        report=report,
    )  # fmt: skip
    settings = {"seed": seed, "steps": steps, "lr": lr, "batch": 8, "flow": flow.describe()}
    along = Axis("label noise", spreads), Axis("w₀", sizes)
    return swept("SGD from balanced a < 0 < w", *along, ends.outcome, settings)


def decay(
    *,
    grid: int = 12,
    starts: int = 48,
    seed: int = 0,
    steps: int = 3000,
    lr: float = 0.05,
    report: Report | None = None,
) -> Sweep:
    """The share of starts a < 0 < w that SGD on the factors of Sign-In recovers, over weight decay and reset period.

    The starts are uniform on (−1, 0) × (0, 1), and β = (1, 0.5). The coupled weight decay is in [0, 0.2], and the
    periods are 2⁰ … 2^(grid−2) steps and "never", which is 0.
    """
    _check(grid, starts, seed)
    decays = np.linspace(0, 0.2, grid)
    periods = np.append(2.0 ** np.arange(grid - 1), 0)
    start = np.random.default_rng(seed).uniform(0, 1, (2, 1, 1, starts))
    ends = sgd(
        -start[0], start[1], lr=lr, steps=steps, seed=seed, flow=SignIn(1.0, 0.5), tolerance=0.5,
        weight_decay=decays[:, None, None], reset_every=periods[None, :, None], report=report,
    )  # fmt: skip
    labels = [*(f"{period:g}" for period in periods[:-1]), "never"]
    settings = {"seed": seed, "steps": steps, "lr": lr, "batch": 8, "beta": [1.0, 0.5], "y_labels": labels}
    along = Axis("weight decay", decays), Axis("reset period", periods)
    return swept("Sign-In from a < 0 < w under SGD", *along, ends.outcome, settings)


def dimension(
    *,
    grid: int = len(DIMENSIONS),
    starts: int = 400,
    seed: int = 0,
    flow: Flow | None = None,
    report: Report | None = None,
) -> Sweep:
    """The share of balanced starts |a| = ‖w‖, w ~ N(0, I/d), that the population flow recovers, over d and sign pairs.

    The pairs of signs of (a, w₁) are (+,+), (+,−), (−,+) and (−,−), numbered 0 … 3.

    grid: how many of d = 1, 2, 3, 5, 8, 16, 32, 64.
    """
    _check(grid, starts, seed)
    flow = flow or Standard()
    dimensions = DIMENSIONS[: int(number("grid", grid, at_least=2, at_most=len(DIMENSIONS), integer=True))]
    rng = np.random.default_rng(seed)
    outcome = np.empty((len(dimensions), len(SIGNS), starts), dtype=np.int8)
    for i, d in enumerate(dimensions):
        w = rng.normal(size=(len(SIGNS), starts, d)) / np.sqrt(d)
        signs = np.array(SIGNS)[:, None]
        w[..., 0] = signs[..., 1] * np.abs(w[..., 0])
        a = signs[..., 0] * np.linalg.norm(w, axis=-1)
        ends = integrate(flow, a, w[..., 0]) if d == 1 else integrate_nd(flow, a.ravel(), w.reshape(-1, d))
        outcome[i] = ends.outcome.reshape(a.shape)
        if report is not None:
            report(i + 1, len(dimensions))
    settings = {"seed": seed, "flow": flow.describe(), "y_labels": ["++", "+-", "-+", "--"]}
    along = Axis("d", np.array(dimensions, float)), Axis("sign pair", np.arange(4.0))
    return swept("recovery by quadrant", *along, outcome, settings, ended=True)


def _check(grid: int, starts: int, seed: int) -> None:
    number("grid", grid, at_least=2, integer=True)
    number("starts", starts, at_least=1, integer=True)
    number("seed", seed, at_least=0, integer=True)


def swept(
    title: str, x: Axis, y: Axis, outcome: NDArray[np.int8], settings: dict[str, Any], *, ended: bool = False
) -> Sweep:
    """The Sweep of outcomes (X, Y, starts).

    ended: every start was to be followed to its end. One that is UNDECIDED then counts neither as recovered nor as
    failed: the rate is over the others, and the interval holds for whatever it would have done.
    """
    if outcome.ndim != 3:
        refuse("outcome", f"shape {outcome.shape}", "of shape (X, Y, starts)")
    recovered, trials = (outcome == Outcome.RECOVERED).sum(-1), outcome.shape[-1]
    undecided = (outcome == Outcome.UNDECIDED).sum(-1)
    open_ = undecided if ended else np.zeros_like(undecided)
    low, high = wilson(recovered, trials)[0], wilson(recovered + open_, trials)[1]
    with np.errstate(invalid="ignore"):
        rate = recovered / (trials - open_)
    settings = {**settings, "starts": trials, "undecided": float(undecided.mean() / trials)}
    return Sweep(title, x.name, y.name, x.values, y.values, rate, low, high, settings, undecided / trials)
