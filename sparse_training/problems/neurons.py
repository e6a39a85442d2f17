"""Rung 1: eight ReLU neurons on disjoint inputs learn a teacher of their own form; the signs of the output decide."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from commons.checks import choice, number
from sparse_training.masks import Masks
from sparse_training.problems.base import PLAIN, Arm, Array, Problem, Runs, mean_speeds
from sparse_training.problems.ways import HAMWay, Layer, PlainWay, PowerWay, SignInWay, UnitSpeedWay
from sparse_training.seeding import generator
from sparse_training.sign_init import GRADIENT, SIGN_INITS, find_signs
from theory import network_gradient, network_loss, separate_gradient, separate_loss

K, S = 8, 4  # neurons, and inputs that each of them reads
D = K * S
CHUNK = 25  # steps whose batches are drawn at once
SHARPNESS_SEEDS = 128
QUICK = ("even", "even-both")  # sign initializations that take about a millisecond a network
QUADRANTS = ("a+ w+", "a− w+", "a+ w−", "a− w−")


@dataclass(frozen=True)
class Weights:
    """Student and teacher of many networks: a, b are (k, seeds, 1); w, v are (k, inputs, seeds, 1), float64."""

    a: Tensor
    w: Tensor
    b: Tensor
    v: Tensor


@dataclass(frozen=True)
class Neurons(Problem):
    """Student Σⱼ aⱼ relu(wⱼ·x) of k = 8 neurons, x ~ N(0, I₃₂), under gradient descent on the population loss.

    The teacher has weights of norm 1 on 4 inputs of its own a neuron, and output weights ±1, four of each. The student
    has the teacher's mask. Its weights are N(0, ¼), its output weights ±‖w‖ with random signs: a balanced start of the
    teacher's size.

    optimizer: "gd" descends the population loss, "sgd" the mean over a fresh batch of `batch` inputs a step.
    sign_samples: inputs that a sign initialization may look at.
    """

    name: ClassVar[str] = "neurons"
    default_seeds: ClassVar[int] = 512
    default_tuning_seeds: ClassVar[int] = 64
    effect: ClassVar[float] = 0.025
    rates: ClassVar[tuple[float, ...]] = (0.0625, 0.125, 0.25, 0.5, 1.0)

    optimizer: str = "gd"
    steps: int = 1000
    batch: int = 32
    sign_samples: int = 512

    def __post_init__(self) -> None:
        choice("optimizer", self.optimizer, ("gd", "sgd"))
        number("decay", self.decay, at_least=0)
        for name in ("steps", "batch", "sign_samples"):
            number(name, getattr(self, name), at_least=1, integer=True)

    def arms(self) -> list[Arm]:
        return [
            Arm(PLAIN),
            Arm("output rate x4", (PlainWay(), PlainWay(4.0))),
            Arm("rescaled start, a/2 and 2w", start="rescaled"),
            Arm("Sign-In β = 1", (SignInWay(1.0), SignInWay(1.0))),
            Arm("Sign-In β = 1, no reset", (SignInWay(1.0, every=0), SignInWay(1.0, every=0))),
            Arm("Sign-In (β_a, β_w) = (1, .25)", (SignInWay(0.25), SignInWay(1.0))),
            Arm("Sign-In (1, .25), no reset", (SignInWay(0.25, every=0), SignInWay(1.0, every=0))),
            Arm("unit speed β = .25", (UnitSpeedWay(0.25), UnitSpeedWay(0.25))),
            Arm("unit speed (β_a, β_w) = (.25, 1)", (UnitSpeedWay(1.0), UnitSpeedWay(0.25))),
            Arm("HAM α = 2", (HAMWay(2.0), HAMWay(2.0))),
            Arm("power p = .75", (PowerWay(0.75), PowerWay(0.75))),
            Arm("true signs", start="true signs"),
            Arm("true signs of the output", start="true output signs"),
            Arm("true signs of the first layer", start="true input signs"),
            Arm("right magnitudes, random signs", start="right magnitudes"),
            *(Arm(f"sign_init {name}", start=name, share=1.0 if name in QUICK else 0.25) for name in SIGN_INITS),
            Arm("dense", dense=True, share=0.25),
        ]

    def run(self, arm: Arm, seeds: Sequence[int], rates: Sequence[float], *, full: bool = False) -> Runs:
        start, cost = self._start(arm, seeds)
        lr = torch.tensor(rates, dtype=torch.float64)
        a0, w0, b, v = (x.expand(*x.shape[:-1], len(rates)).contiguous() for x in (start.a, start.w, start.b, start.v))
        ways = arm.ways or (PlainWay(), PlainWay())
        w, a = (Layer(way, x, decay=self.decay) for way, x in zip(ways, (w0, a0), strict=True))
        speeds = torch.zeros(2, len(seeds), len(rates), dtype=torch.float64)
        for of_a, of_w in self._gradients(a, w, b, v, seeds):
            if full:
                speeds += torch.stack([x.way.speed(x.latents).flatten(0, -3).mean(0) for x in (w, a)])
            a.step(of_a, lr)
            w.step(of_w, lr)
        loss: Callable[..., Tensor] = network_loss if arm.dense else separate_loss
        end, zero = (loss(x, w.theta, b, v, torch) for x in (a.theta, 0 * a.theta))
        relative = end / zero
        diverged = ~(relative <= 1)
        relative = torch.where(diverged, 1.0, relative)
        measures = _measures(start, a.theta, w.theta, arm.dense) if full else {}
        return Runs(relative.numpy(), diverged.numpy(), measures, mean_speeds(speeds / self.steps, diverged), cost)

    def _start(self, arm: Arm, seeds: Sequence[int]) -> tuple[Weights, float]:
        """The start of the arm, and what it cost as a share of training."""
        drawn = draw(seeds, arm.dense)
        if arm.start in STARTS:
            return STARTS[arm.start](drawn), 0.0
        found = [self._find_signs(arm.start, seed, drawn, index) for index, seed in enumerate(seeds)]
        a, w = (torch.stack([signs[name] for signs, _ in found], -1)[..., None] for name in ("a", "w"))
        passes = sum(passes for _, passes in found) / len(found)
        signed = replace(drawn, a=torch.copysign(drawn.a, a), w=torch.copysign(drawn.w, w))
        return signed, passes / (GRADIENT * self.steps * self.batch)

    def _find_signs(self, method: str, seed: int, drawn: Weights, index: int) -> tuple[dict[str, Tensor], int]:
        """The signs (k,) and (k, s) that a sign initialization finds for one network, and its forward passes."""
        a, w, b, v = (x[..., index, 0] for x in (drawn.a, drawn.w, drawn.b, drawn.v))
        x = torch.randn(self.sign_samples, D, generator=generator(seed, "neurons", "signs"), dtype=torch.float64)
        y = (x @ _on_all_inputs(v).T).relu() @ b
        model = nn.Sequential(nn.Linear(D, K, bias=False), nn.ReLU(), nn.Linear(K, 1, bias=False)).double()
        model.load_state_dict({"0.weight": _on_all_inputs(w), "2.weight": a[None]})
        support = _on_all_inputs(torch.ones(K, S)) > 0
        masks = Masks({"0.weight": support, "2.weight": torch.ones(1, K, dtype=torch.bool)})
        found = find_signs(model, masks, method, (x, y[:, None]), loss=mse_loss, seed=seed)
        return {"w": found.signs["0.weight"][support].view(K, S), "a": found.signs["2.weight"][0]}, found.passes

    def _gradients(
        self, a: Layer, w: Layer, b: Tensor, v: Tensor, seeds: Sequence[int]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(∂L/∂a, ∂L/∂w) before each step, of the population or of a fresh batch."""
        if self.optimizer == "gd":
            gradient = network_gradient if v.shape[1] == D else separate_gradient
            for _ in range(self.steps):
                yield gradient(a.theta, w.theta, b, v, torch)
            return
        streams = [generator(seed, "neurons", "batches") for seed in seeds]
        for begin in range(0, self.steps, CHUNK):
            shape = (min(CHUNK, self.steps - begin), self.batch, D)
            drawn = [torch.randn(shape, generator=stream, dtype=torch.float64) for stream in streams]
            for x in torch.stack(drawn, -1).unbind():
                yield batch_gradient(a.theta, w.theta, b, v, x[..., None])


def draw(seeds: Sequence[int], dense: bool = False) -> Weights:
    """Teachers and starts, each from its seed alone; dense: every neuron reads all inputs, with weights N(0, 1/32)."""
    networks = []
    for seed in seeds:
        stream = generator(seed, "neurons", "start")
        v = torch.randn(K, S, generator=stream, dtype=torch.float64)
        b = torch.where(torch.randperm(K, generator=stream) < K // 2, 1.0, -1.0).double()
        w = torch.randn(K, S, generator=stream, dtype=torch.float64) / S**0.5
        turn = torch.where(torch.rand(K, generator=stream) < 0.5, -1.0, 1.0).double()
        if dense:
            w = torch.randn(K, D, generator=stream, dtype=torch.float64) / D**0.5
            v = _on_all_inputs(v)
        v = v / _norm(v)[:, None]
        networks.append((turn * _norm(w), w, b, v))
    return Weights(*(torch.stack(x, -1)[..., None] for x in zip(*networks, strict=True)))


def batch_gradient(a: Tensor, w: Tensor, b: Tensor, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the mean of ½(student − teacher)² over a batch. x: (batch, inputs, seeds, 1).

    Neurons that read all inputs have w (k, 32, seeds, rates), the teacher too.
    """
    if w.shape[1] == D:
        return _dense_batch_gradient(a, w, b, v, x)
    x = x.reshape(len(x), K, S, *x.shape[2:])  # (batch, k, inputs a neuron, seeds, 1)
    z, own = _sum(w[None] * x, 2), _sum(v[None] * x, 2).relu()
    active = z.relu()
    error = _sum(a * active - b * own, 1)[:, None]  # (batch, 1, seeds, rates)
    of_w = _sum((error * a * (z > 0))[:, :, None] * x, 0) / len(x)
    return _sum(error * active, 0) / len(x), of_w


def _dense_batch_gradient(a: Tensor, w: Tensor, b: Tensor, v: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The same by matrix products."""
    x = x[..., 0].permute(2, 0, 1)[None]  # (1, seeds, batch, inputs)
    a, w, b, v = (t.movedim((-1, -2), (0, 1)) for t in (a, w, b, v))  # (rates, seeds, k, ...)
    z, own = x @ w.mT, (x @ v.mT).relu()  # (rates, seeds, batch, k)
    active = z.relu()
    error = active @ a[..., None] - own @ b[..., None]
    of_a = (error * active).mean(-2)
    of_w = ((error * a[..., None, :]) * (z > 0)).mT @ x / x.shape[2]
    return of_a.movedim((0, 1), (-1, -2)), of_w.movedim((0, 1), (-1, -2))


def sharpness(a: Tensor, w: Tensor, b: Tensor, v: Tensor) -> Tensor:
    """λ_max of the Hessian of the population loss in (a, w): (seeds,) from a, b (k, seeds) and w, v (k, s, seeds)."""
    k, s, seeds = w.shape
    gradient = network_gradient if s == D else separate_gradient

    theta = torch.cat([a, w.flatten(0, 1)]).requires_grad_()
    of_a, of_w = gradient(theta[:k], theta[k:].view(k, s, seeds), b, v, torch)
    slopes = [x.sum() for x in (*of_a, *of_w.flatten(0, 1))]  # over seeds, which do not meet
    rows = [torch.autograd.grad(slope, theta, retain_graph=True)[0] for slope in slopes]
    hessian = torch.stack(rows).permute(2, 0, 1)
    top: Tensor = torch.linalg.eigvalsh((hessian + hessian.mT) / 2)[:, -1]
    return top


def _measures(start: Weights, a: Tensor, w: Tensor, dense: bool) -> dict[str, Array]:
    """The table's numbers a seed at the one learning rate that is run; shares are of the 8 neurons or their weights."""
    a, w = a[..., 0], w[..., 0]
    a0, w0, b, v = (x[..., 0] for x in (start.a, start.w, start.b, start.v))
    top = torch.full(a.shape[1:], torch.nan, dtype=a.dtype)
    some = slice(SHARPNESS_SEEDS)
    top[some] = sharpness(a[:, some], w[..., some], b[:, some], v[..., some])
    found = {
        "neurons recovered": recovered(a, w, b, v, dense).sum(0),
        "output flips": (a * a0 < 0).double().mean(0),
        "input flips": (w * w0 < 0).double().mean((0, 1)),
        "λ_max": top,
    }
    if not dense:
        right = (a * b > 0).double()
        found["output signs right"] = right.mean(0)
        aligned, right_half = a0 * b > 0, _sum(w0 * v, 1) > 0
        for name, first, second in zip(QUADRANTS, (1, 0, 1, 0), (1, 1, 0, 0), strict=True):
            here = (aligned == bool(first)) & (right_half == bool(second))
            found[f"starts in {name}"], found[f"right from {name}"] = here.sum(0), (here * right).sum(0)
    return {name: value.double().numpy() for name, value in found.items()}


def recovered(a: Tensor, w: Tensor, b: Tensor, v: Tensor, dense: bool = False) -> Tensor:
    """Whether a student neuron is within a tenth of each teacher neuron, ‖aw − bv‖ < .1‖bv‖ with ab > 0; (k, ...).

    With a mask the student neuron is the one on the same inputs; otherwise it may be any.
    """
    ours, theirs = a[:, None] * w, b[:, None] * v
    if not dense:
        return (_norm(ours - theirs) < 0.1 * _norm(theirs)) & (a * b > 0)
    teachers = zip(theirs, b, strict=True)
    found = [((_norm(ours - own[None]) < 0.1 * _norm(own[None])) & (a * c > 0)).any(0) for own, c in teachers]
    return torch.stack(found)


def _rescaled(drawn: Weights) -> Weights:
    """The same function with the output layer at half its size and the first layer at twice its size."""
    return replace(drawn, a=drawn.a / 2, w=2 * drawn.w)


def _true_signs(drawn: Weights, output: bool = True, inputs: bool = True) -> Weights:
    a = torch.copysign(drawn.a, drawn.b) if output else drawn.a
    return replace(drawn, a=a, w=torch.copysign(drawn.w, drawn.v) if inputs else drawn.w)


def _right_magnitudes(drawn: Weights) -> Weights:
    """The teacher's magnitudes with the signs that were drawn."""
    return replace(drawn, a=torch.copysign(drawn.b, drawn.a), w=torch.copysign(drawn.v, drawn.w))


STARTS: dict[str, Callable[[Weights], Weights]] = {
    "drawn": lambda drawn: drawn,
    "rescaled": _rescaled,
    "true signs": _true_signs,
    "true output signs": lambda drawn: _true_signs(drawn, inputs=False),
    "true input signs": lambda drawn: _true_signs(drawn, output=False),
    "right magnitudes": _right_magnitudes,
}


def _on_all_inputs(w: Tensor) -> Tensor:
    """(k, 32) from the weights (k, 4) of neurons on disjoint inputs."""
    whole = torch.zeros(K, K, S, dtype=w.dtype)
    whole[torch.arange(K), torch.arange(K)] = w
    return whole.view(K, D)


def _norm(x: Tensor) -> Tensor:
    """The norm over axis 1, by a sum in the order of its terms, as everything here that adds."""
    return _sum(x * x, 1).sqrt()


def _sum(x: Tensor, axis: int) -> Tensor:
    return reduce(add, x.unbind(axis))
