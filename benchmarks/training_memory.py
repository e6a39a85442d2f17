"""Memory of a training step by kind of tensor, and its time: plain masked training, Sign-In, and Sign-In stored sparse.

Every tensor that an operator returns is followed until it is freed, so that peaks are exact and it is known what holds
them.
Times are of variants that take turns step by step in one process; the ratio is that of the medians.
"""

import argparse
import statistics
import time
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.rounds import ratios
from commons.files import output_directory, write_text
from commons.tables import aligned
from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.reparam import Factors, Reparam, SignIn, sparsify

VARIANTS: dict[str, Reparam | None] = {
    "plain": None,
    "Sign-In": SignIn(),
    'Sign-In, storage="active"': SignIn(storage="active"),
}
CASES = {"mlp": (32, 64), "resnet20": (32, 16), "resnet50": (64, 4)}  # side of the images, batch
KINDS = ("weights or factors", "gradients", "optimizer state", "masks and places", "merged weights", "other")
TEXT = """# Memory of training with Sign-In

MB in a training step: SGD with momentum, float32, random masks (ERK) at the given density, one thread. Each kind of
tensor has its own peak. "merged weights" are θ = m ⊙ w, which live from the forward to the backward pass; "other" is
activations, gradients of merged weights and what an operator needs for itself. "trained" adds weights or factors,
gradients and optimizer state. "total" is the peak of all kinds together. "of plain" compares with plain masked
training. With `SignIn(storage="active")` factors, their gradients and momentum are vectors over the active weights;
"masks and places" has then 8 bytes more for each of these. The last columns are the time of a step over that of plain
masked training, with the least and the largest ratio of {rounds} turns.

{table}

Made by `python -m benchmarks.training_memory --rounds {rounds} --out {out}`.
"""


class Step:
    """A network with its optimizer and a batch, ready to be stepped."""

    def __init__(self, model: str, density: float, reparam: Reparam | None) -> None:
        side, batch = CASES[model]
        network = models.build(model, in_channels=3, image_size=side, num_classes=10)
        self.sparse = sparsify(network, make_masks(network, density, "random", "erk"), reparam)
        self.optimizer = torch.optim.SGD(self.sparse.parameter_groups(1e-4), lr=1e-3, momentum=0.9)
        self.sparse.attach(self.optimizer)
        rng = torch.Generator().manual_seed(0)
        self.batch = torch.randn(batch, 3, side, side, generator=rng), torch.randint(0, 10, (batch,), generator=rng)

    def __call__(self) -> None:
        x, y = self.batch
        self.optimizer.zero_grad()
        cross_entropy(self.sparse.model(x), y).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def held(self) -> dict[str, list[Tensor]]:
        """The tensors that outlive a step, and the gradients, by kind."""
        parameters = list(self.sparse.model.parameters())
        masks = [layer.mask for layer in self.sparse.layers]
        places = [chart.entries for chart in self.sparse.model.modules() if isinstance(chart, Factors)]
        state = [v for own in self.optimizer.state.values() for v in own.values() if isinstance(v, Tensor)]
        return {
            KINDS[0]: [*parameters, *self.sparse.model.buffers()],
            KINDS[1]: [parameter.grad for parameter in parameters if parameter.grad is not None],
            KINDS[2]: state,
            KINDS[3]: [*masks, *(place for place in places if place is not None)],
        }


class Peaks(TorchDispatchMode):
    """Follows the memory of all tensors from here on; `bytes` has the peak of each kind, and of all as "total"."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step, self.live, self.bytes = step, dict[int, int](), dict.fromkeys((*KINDS, "total"), 0)
        self.merged: set[int] = set()
        for tensors in step.held().values():
            for tensor in tensors:
                self._follow(tensor)
        for chart in step.sparse.model.modules():
            if isinstance(chart, Factors):
                chart.register_forward_hook(lambda _, args, theta: self.merged.add(theta.untyped_storage()._cdata))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        new = [self._follow(tensor) for tensor in tree_leaves(result) if isinstance(tensor, Tensor)]
        if any(new):
            for kind, size in self._sizes().items():
                self.bytes[kind] = max(self.bytes[kind], size)
        return result

    def _follow(self, tensor: Tensor) -> bool:
        """Whether it is new."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.live:
            return False
        self.live[key] = storage.nbytes()
        weakref.finalize(storage, self._free, key)
        return True

    def _free(self, key: int) -> None:
        self.live.pop(key, None)
        self.merged.discard(key)

    def _sizes(self) -> dict[str, int]:
        rest, found = dict(self.live), {"total": sum(self.live.values())}
        for kind, tensors in reversed(self.step.held().items()):  # a mask is also a buffer
            found[kind] = sum(rest.pop(key, 0) for key in {tensor.untyped_storage()._cdata for tensor in tensors})
        found["merged weights"] = sum(rest.pop(key, 0) for key in self.merged)
        return {**found, "other": sum(rest.values())}


def measure(model: str, density: float, rounds: int) -> list[dict[str, object]]:
    """One row a variant."""
    steps = {name: Step(model, density, reparam) for name, reparam in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            if turn > 1:
                times[name].append(time.perf_counter() - begun)
    rows: list[dict[str, object]] = []
    for name, step in steps.items():
        with Peaks(step) as peaks:
            step()
        megabytes = {kind: round(size / 1e6, 3) for kind, size in peaks.bytes.items()}
        total, trained = megabytes.pop("total"), sum(megabytes[kind] for kind in KINDS[:3])
        plain = rows[0] if rows else {"trained": trained, "total": total}
        row: dict[str, object] = {"network": model, "density": density, "variant": name, **megabytes}
        for key, size in (("trained", trained), ("total", total)):
            row |= {key: size, f"{key}, of plain": size / float(str(plain[key]))}
        least, _, largest = ratios(times[name], times["plain"])
        ratio = statistics.median(times[name]) / statistics.median(times["plain"])
        rows.append({**row, "step": ratio, "least": least, "largest": largest})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--densities", nargs="+", type=float, default=[0.1, 0.05])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in args.networks for density in args.densities for row in measure(name, density, args.rounds)]
    table = aligned(rows)
    print(table)
    write_text(
        output_directory("out", args.out) / "training-memory.md", TEXT.format(**vars(args), table=table.rstrip())
    )


if __name__ == "__main__":
    main()
