"""Time of inference of sparse networks, dense against CSR matrices, onnxruntime and, on CUDA, torch's 2:4 kernels.

Ways take turns in one process, so that a busy machine slows all of them; the ratio is that of the medians, with the
least and the largest ratio of a turn. The extra `export` brings onnxruntime; without it those columns stay empty.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from benchmarks.rounds import ratios
from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned
from sparse_training import models
from sparse_training.export import FORMATS, export, semi_structured
from sparse_training.export.formats import csr_matrix
from sparse_training.masks import Masks, make_masks
from sparse_training.reparam import sparsify
from sparse_training.runs import Network

SPARSITIES = (0.8, 0.9, 0.95)
OTHERS = (0.5, 0.7, 0.98, 0.99, 0.995)  # only to find the sparsity from which CSR is faster
TEXT = """# Time of inference, dense and sparse

A pass through an MLP (3072-300-100-10) and ResNet-20 on images of 32 x 32, random masks (ERK), evaluation mode,
float32, {threads} thread(s), {rounds} turns of each way. "CSR" multiplies by `torch.sparse_csr` matrices (MKL), a
convolution after unfolding its input. "onnxruntime" runs what `export --out net.onnx` writes, as a dense graph with
normalizations folded into convolutions. On CPU torch has no packed kernels for sparse weights; its 2:4 kernels need
CUDA.

{told}

{table}"""
SLICE = 0.02  # seconds of one turn of one way, at least one pass


class CSRLinear(nn.Module):
    """A linear layer whose weight is a CSR matrix; the same for a convolution over its unfolded input."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, mask: Tensor) -> None:
        super().__init__()
        self.layer = layer
        self.matrix = csr_matrix(layer.weight.detach().flatten(1), mask.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.layer, nn.Linear):
            out = (self.matrix @ x.t()).t()
            return out if self.layer.bias is None else out + self.layer.bias
        conv = self.layer
        stride, pad, size = conv.stride, conv.padding, conv.kernel_size
        high, wide = ((x.shape[i + 2] + 2 * int(pad[i]) - size[i]) // stride[i] + 1 for i in (0, 1))
        columns = x.flatten(2) if size == (1, 1) and stride == (1, 1) else unfold(x, size, 1, pad, stride)
        out = self.matrix @ columns.transpose(0, 1).flatten(1)  # (units, inputs) @ (inputs, B · H · W)
        return out.view(len(out), len(x), high, wide).transpose(0, 1)


def with_csr(model: nn.Module, masks: Masks) -> nn.Module:
    """A copy whose masked linear layers and convolutions multiply by CSR matrices."""
    copied = copy.deepcopy(model)
    for name, mask in masks.items():
        owner, _, child = name.removesuffix(".weight").rpartition(".")
        layer = copied.get_submodule(name.removesuffix(".weight"))
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        setattr(copied.get_submodule(owner), child, CSRLinear(layer, mask))
    return copied


def ways(name: str, sparsity: float, x: Tensor, folder: Path, onnx: bool) -> dict[str, Callable[[], object]]:
    """What computes the same network on the batch x, by name of the way; its outputs are compared first."""
    cuda = x.is_cuda
    model = wide_mlp() if cuda else models.build(name, in_channels=3, image_size=32, num_classes=10, seed=0)
    model = model.eval()
    masks = make_masks(model, 0.5 if cuda else 1 - sparsity, "random", "2:4" if cuda else "erk")
    held = Network(sparsify(model, masks).state_dict(), masks, {})
    if cuda:
        model, masks = model.half().to(x.device), masks.to(x.device)
        packed = copy.deepcopy(model)
        assert semi_structured(packed, masks)
        found: dict[str, Callable[[Tensor], Tensor]] = {"dense": model, "2:4": packed}
    else:
        found = {"dense": model, "CSR": with_csr(model, masks)}
    if onnx:
        path = folder / "net.onnx"
        format = export(held, path, model=model, x=x)
        found["onnxruntime"] = FORMATS[format].read(path, model)
    right = found["dense"](x)
    for way, function in found.items():
        error = float((function(x) - right).abs().max())
        assert error <= (1e-2 if cuda else 1e-5) * max(1.0, float(right.abs().max())), (way, error)
    return {way: lambda function=function: function(x) for way, function in found.items()}  # type: ignore[misc]


def wide_mlp() -> nn.Module:
    """3072-1024-1024-10, whose hidden layers have sizes that torch's 2:4 kernels take."""
    layers = [nn.Linear(3072, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def seconds(function: Callable[[], object], passes: int, device: torch.device) -> float:
    begun = time.perf_counter()
    for _ in range(passes):
        function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - begun) / passes


def measure(name: str, sparsity: float, x: Tensor, rounds: int, onnx: bool, folder: Path) -> list[dict[str, object]]:
    """One row a way: median ms of a pass, and its ratio to the dense pass."""
    functions = ways(name, sparsity, x, folder, onnx)
    passes = {way: max(1, int(SLICE / seconds(function, 2, x.device))) for way, function in functions.items()}
    times: dict[str, list[float]] = {way: [] for way in functions}
    for _ in range(rounds):
        for way, function in functions.items():
            times[way].append(seconds(function, passes[way], x.device))
    dense = statistics.median(times["dense"])
    rows: list[dict[str, object]] = []
    for way, own in times.items():
        least, _, largest = ratios(own, times["dense"])
        row = {"network": name, "batch": len(x), "sparsity %": 100 * (0.5 if x.is_cuda else sparsity), "way": way}
        median = statistics.median(own)
        row |= {"ms": 1e3 * median, "of dense": median / dense, "least": least, "largest": largest}
        rows.append(row)
    return rows


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", nargs="+", default=["mlp", "resnet20"], choices=["mlp", "resnet20"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 64])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of torch and of onnxruntime")
    parser.add_argument("--onnx", action="store_true", help="measure onnxruntime too")
    parser.add_argument("--out", type=Path, default=Path("results"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    cpu = device.type == "cpu"
    rows: list[dict[str, object]] = []
    told: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in args.networks if cpu else ["wide MLP"]:
            for batch in args.batches:
                x = torch.randn(batch, 3, 32, 32, device=device, dtype=torch.float32 if cpu else torch.float16)
                for sparsity in (*SPARSITIES, *OTHERS) if cpu else SPARSITIES[:1]:
                    onnx = args.onnx and cpu and sparsity in SPARSITIES
                    rows += measure(name, sparsity, x, args.rounds, onnx, Path(folder))
                if cpu:
                    told.append(f"- {name}, batch {batch}: {crossing(name, batch, rows)}")
                    print(told[-1], flush=True)
    print(aligned(rows))
    write_csv(output_directory("out", args.out) / f"inference-speed-{device.type}.csv", rows)
    if cpu:
        written = f"--rounds {args.rounds} --threads {args.threads}{' --onnx' * args.onnx} --out {args.out}"
        text = TEXT.format(threads=args.threads, rounds=args.rounds, told="\n".join(told), table=aligned(rows).rstrip())
        write_text(args.out / "inference-speed.md", f"{text}\n\nMade by `python -m benchmarks.inference {written}`.\n")


def crossing(name: str, batch: int, rows: list[dict[str, object]]) -> str:
    """From which of the measured sparsities on CSR is faster than dense, in words."""
    own = [row for row in rows if (row["network"], row["batch"], row["way"]) == (name, batch, "CSR")]
    least: object = None
    for row in sorted(own, key=lambda row: -float(str(row["sparsity %"]))):
        if float(str(row["of dense"])) >= 1:
            break
        least = row["sparsity %"]
    return "CSR is not faster at any sparsity" if least is None else f"CSR is faster from {least:g} % sparsity on"


if __name__ == "__main__":
    main()
