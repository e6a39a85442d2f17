"""Time and memory of a training step, dense and masked, with reparametrizations; eager, compiled and as a CUDA graph.

Variants take turns step by step in one process, so that a busy machine slows all of them; medians are compared.
"""

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.rounds import ratios, spread
from commons.files import output_directory, write_csv
from commons.tables import aligned
from sparse_training import models
from sparse_training.masks import Masks, make_masks
from sparse_training.reparam import sparsify
from sparse_training.runs.config import Config
from sparse_training.training.passes import Passes, computing
from sparse_training.training.setup import optimizer_of
from sparse_training.training.update import Update

VARIANTS = {"dense": "none", "static mask": "none", "Sign-In": "sign-in", "HAM": "ham", "UnitSpeed": "unit-speed"}
DENSITY = 0.1
RATIOS = ("least of static", "of static", "most of static")


class Stepper:
    """One network with its optimizer, stepped as the engine steps it."""

    def __init__(self, variant: str, model: str, batch: tuple[Tensor, Tensor], mode: str, device: torch.device) -> None:
        settings = [f"reparam={VARIANTS[variant]}", f"engine.compile={str(mode == 'compiled').lower()}"]
        config = Config().with_set([*settings, f"engine.graphs={str(mode == 'graph').lower()}"])
        network = models.build(model, in_channels=3).to(device)
        masks = make_masks(network, DENSITY, "random", "erk")
        if variant == "dense":
            masks = Masks({name: torch.ones_like(mask) for name, mask in masks.items()})
        self.batch, self.sparse = batch, sparsify(network, masks, config.reparam)
        self.dense = variant == "dense"
        self.optimizer, rate = optimizer_of(config, self.sparse, self.sparse.parameter_groups(1e-4))
        if not self.dense:
            self.sparse.attach(self.optimizer)
        self.passes = Passes(network, config, device, len(batch[1]))
        self.update = Update(self.sparse, self.optimizer, 0.0, rate)
        self.update.set_rate(1e-3)

    def step(self) -> None:
        self.passes(*self.batch)
        self.update(self.passes.recorded)

    def held(self) -> float:
        """MiB of weights, gradients, optimizer state, buffers and masks."""
        parameters = list(self.sparse.model.parameters())
        tensors = [*parameters, *self.sparse.model.buffers(), *(p.grad for p in parameters if p.grad is not None)]
        tensors += [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        tensors += [] if self.dense else list(self.sparse.masks.values())
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values()) / 2**20


def measure(model: str, size: int, mode: str, device: torch.device, rounds: int) -> list[dict[str, object]]:
    """One row a variant: step time in ms, its ratio to the static mask's step by step, and memory in MiB."""
    side, classes = (models.published_sizes(model)[key] for key in ("image_size", "num_classes"))
    batch = torch.randn(size, 3, side, side, device=device), torch.randint(0, classes, (size,), device=device)
    steppers = {variant: Stepper(variant, model, batch, mode, device) for variant in VARIANTS}
    times: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    peaks: dict[str, float] = {}
    for index in range(rounds + 3):
        for variant, stepper in steppers.items():
            seconds, peak = timed(stepper.step, device)
            if index >= 3:
                times[variant].append(seconds)
                peaks[variant] = peak
    return [
        {
            "model": model,
            "batch": size,
            "mode": mode,
            "variant": variant,
            **spread([1e3 * spent for spent in own], "step ms"),
            **dict(zip(RATIOS, ratios(own, times["static mask"]), strict=True)),
            "held MiB": steppers[variant].held(),
            "peak above held MiB": peaks[variant] if device.type == "cuda" else None,
        }
        for variant, own in times.items()
    ]


def timed(step: Callable[[], None], device: torch.device) -> tuple[float, float]:
    """Seconds of one step, and on cuda the MiB that it allocated above what was held before."""
    cuda = device.type == "cuda"
    before = 0
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    begun = time.perf_counter()
    step()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    return seconds, (torch.cuda.max_memory_allocated() - before) / 2**20 if cuda else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet50"], choices=["resnet20", "resnet50"])
    parser.add_argument("--modes", nargs="+", default=[], choices=["eager", "compiled", "graph"])
    parser.add_argument("--rounds", type=int, default=0, help="timed steps of each variant; 0: as the device bears")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    device = torch.device(args.device)
    cuda = device.type == "cuda"
    rows: list[dict[str, object]] = []
    with computing(Config(), device):
        for model in args.models:
            size = ({"resnet20": 128, "resnet50": 32} if cuda else {"resnet20": 64, "resnet50": 4})[model]
            rounds = args.rounds or (100 if cuda else {"resnet20": 40, "resnet50": 5}[model])
            for mode in args.modes or (["eager", "compiled", "graph"] if cuda else ["eager"]):
                rows += measure(model, size, mode, device, rounds)
                gc.collect()
                print(aligned(rows[-len(VARIANTS) :]), flush=True)
    write_csv(output_directory("out", args.out) / f"training-speed-{device.type}.csv", rows)


if __name__ == "__main__":
    main()
