"""Time and memory of a training step, dense and masked, with reparametrizations; eager, compiled and as CUDA graphs.

Variants take turns step by step in one process, so that a busy machine slows all of them; medians are compared. With
--together K, K processes train Sign-In at the same time instead, as the runs of a sweep on one GPU do.
"""

import argparse
import gc
import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

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
MODES = {"eager": [], "compiled": ["engine.compile=true"], "graph": ["engine.graphs=true"]}
MODES["compiled graph"] = MODES["compiled"] + MODES["graph"]
PRECISIONS = {"float32": [], "tf32": ["engine.precision=tf32"], "bfloat16": ["engine.precision=bfloat16"]}
PRECISIONS["bfloat16, channels last"] = [*PRECISIONS["bfloat16"], "engine.channels_last=true"]
TOGETHER_SECONDS = 4.0
DENSITY = 0.1
RATIOS = ("least of static", "of static", "most of static")


class Stepper:
    """One network with its optimizer, stepped as the engine steps it."""

    def __init__(self, variant: str, model: str, batch: tuple[Tensor, Tensor], config: Config) -> None:
        config, device = config.with_set([f"reparam={VARIANTS[variant]}"]), batch[0].device
        network = models.build(model, in_channels=3).to(device)
        if config.engine.channels_last:
            network = network.to(memory_format=torch.channels_last)
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

    def forth_and_back(self) -> None:
        self.passes(*self.batch)

    def follow(self) -> None:
        self.update(self.passes.recorded)

    def held(self) -> float:
        """MiB of weights, gradients, optimizer state, buffers and masks."""
        parameters = list(self.sparse.model.parameters())
        tensors = [*parameters, *self.sparse.model.buffers(), *(p.grad for p in parameters if p.grad is not None)]
        tensors += [v for state in self.optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
        tensors += [] if self.dense else list(self.sparse.masks.values())
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        return sum(storages.values()) / 2**20


def made_batch(model: str, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels of the model's published size, at random."""
    side, classes = (models.published_sizes(model)[key] for key in ("image_size", "num_classes"))
    return torch.randn(size, 3, side, side, device=device), torch.randint(0, classes, (size,), device=device)


def measure(
    model: str, size: int, mode: str, precision: str, device: torch.device, rounds: int, variants: Sequence[str]
) -> list[dict[str, object]]:
    """One row a variant: step time in ms, its ratio to the static mask's step by step, and memory in MiB."""
    batch, config = made_batch(model, size, device), Config().with_set([*MODES[mode], *PRECISIONS[precision]])
    passes: dict[str, list[float]] = {variant: [] for variant in variants}
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    peaks: dict[str, float] = {}
    with computing(config, device):
        steppers = {variant: Stepper(variant, model, batch, config) for variant in variants}
        for index in range(rounds + 3):
            for variant, stepper in steppers.items():
                forth_and_back, peak = timed(stepper.forth_and_back, device)
                follow, peak_after = timed(stepper.follow, device)
                if index >= 3:
                    passes[variant].append(forth_and_back)
                    times[variant].append(forth_and_back + follow)
                    peaks[variant] = max(peak, peak_after)
    base = times.get("static mask", next(iter(times.values())))
    return [
        {
            "model": model,
            "batch": size,
            "mode": mode,
            "precision": precision,
            "variant": variant,
            **spread([1e3 * spent for spent in own], "step ms"),
            "of it the passes": 1e3 * statistics.median(passes[variant]),
            **dict(zip(RATIOS, ratios(own, base), strict=True)),
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


def together(count: int, precision: str) -> dict[str, object]:
    """Steps a second of ResNet-20 with Sign-In, as graphs, in `count` processes at once on one GPU."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(count), context.Queue()
    processes = [context.Process(target=_steps, args=(precision, barrier, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    rates = [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    return {"processes": count, "precision": precision, "steps/s each": min(rates), "steps/s": sum(rates)}


def _steps(precision: str, barrier: Barrier, answers: Any) -> None:
    device, config = torch.device("cuda"), Config().with_set([*MODES["graph"], *PRECISIONS[precision]])
    with computing(config, device):
        stepper = Stepper("Sign-In", "resnet20", made_batch("resnet20", 128, device), config)
        for _ in range(3):
            stepper.forth_and_back()
            stepper.follow()
        torch.cuda.synchronize()
        barrier.wait()
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < TOGETHER_SECONDS:
            for _ in range(20):
                stepper.forth_and_back()
                stepper.follow()
            torch.cuda.synchronize()
            steps += 20
        answers.put(steps / (time.perf_counter() - begun))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet50"], choices=["resnet20", "resnet50"])
    parser.add_argument("--modes", nargs="+", default=[], choices=list(MODES))
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=list(PRECISIONS))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--together", type=int, nargs="+", default=[], metavar="K", help="processes at once on the GPU")
    parser.add_argument("--name", default="training-speed", help="of the table that is written")
    parser.add_argument("--rounds", type=int, default=0, help="timed steps of each variant; 0: as the device bears")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    device = torch.device(args.device)
    cuda, file = device.type == "cuda", output_directory("out", args.out) / f"{args.name}-{device.type}.csv"
    rows: list[dict[str, object]] = []
    for count in args.together:
        rows.append(together(count, args.precisions[-1]))
        print(aligned(rows[-1:]), flush=True)
        write_csv(file, rows)
    for model in [] if args.together else args.models:
        size = ({"resnet20": 128, "resnet50": 32} if cuda else {"resnet20": 64, "resnet50": 4})[model]
        rounds = args.rounds or (100 if cuda else {"resnet20": 40, "resnet50": 5}[model])
        for mode in args.modes or (["eager", "compiled", "graph"] if cuda else ["eager"]):
            for precision in args.precisions:
                rows += measure(model, size, mode, precision, device, rounds, args.variants)
                gc.collect()
                print(aligned(rows[-len(args.variants) :]), flush=True)
                write_csv(file, rows)


if __name__ == "__main__":
    main()
