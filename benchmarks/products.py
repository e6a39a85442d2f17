"""Time and memory of one Hessian-vector product, by graph and chunk: ResNet-20 on images of 32 × 32, on a GPU or not.

    python -m benchmarks.products [--samples 10000] [--graphs kept forward ...] [--chunks 1024 4096 8192] [--out DIR]

Rows come as they are measured; a way that runs out of memory, or that torch cannot go, is named and left out.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from benchmarks.rounds import spread
from commons.cli import Parser
from commons.files import output_directory, write_csv
from commons.tables import aligned
from sparse_training import models
from sparse_training.masks import make_masks
from sparse_training.sharpness import HessianOperator

GRAPHS = ("forward", "rebuilt", "kept", "linearized", "compiled")


def measure(graph: str, chunk: int, samples: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """One row; the first product, which may compile, is told apart."""
    cuda = device.type == "cuda"
    model = models.build("resnet20", in_channels=3, image_size=32, num_classes=10, seed=0).to(device)
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(samples, 3, 32, 32, generator=draw).to(device), torch.randint(0, 10, (samples,)).to(device)
    masks = make_masks(model, 0.1, "random")
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def timed(work: Any) -> tuple[float, Any]:
        begun = time.perf_counter()
        made = work()
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begun, made

    prepared, operator = timed(lambda: HessianOperator(model, cross_entropy, (x, y), masks, graph=graph, chunk=chunk))
    v = torch.ones(operator.size, device=device) / operator.size**0.5
    first, _ = timed(lambda: operator @ v)
    times = [timed(lambda: operator @ v)[0] for _ in range(rounds)]
    row = {"graph": graph, "chunk": chunk, "samples": samples, "prepared s": prepared, "first s": first}
    return {
        **row,
        **spread(times, "product s"),
        "peak MiB": torch.cuda.max_memory_allocated() / 2**20 if cuda else None,
    }


def main() -> int:
    """Print and write the table."""
    parser = Parser(prog="python -m benchmarks.products", description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--graphs", nargs="+", default=list(GRAPHS), choices=GRAPHS)
    parser.add_argument("--chunks", type=int, nargs="+", default=[1024, 4096, 8192])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="folder for hessian-products-DEVICE.csv")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    device, rows = torch.device(args.device), []
    for graph in args.graphs:
        for chunk in args.chunks[:1] if graph == "compiled" else args.chunks:  # each chunk is compiled anew
            try:
                rows.append(measure(graph, chunk, args.samples, device, args.rounds))
            except (RuntimeError, NotImplementedError) as error:
                print(f"{graph}, chunk {chunk}: {str(error).splitlines()[0]}", flush=True)
                continue
            print(aligned(rows[-1:]), flush=True)
            if args.out:
                write_csv(output_directory("out", args.out) / f"hessian-products-{device.type}.csv", rows)


if __name__ == "__main__":
    sys.exit(main())
