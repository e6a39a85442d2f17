"""`export RUN|CHECKPOINT`: write a merged network as a file for other programs; the file's extension says which.

A state dict has the names of torchvision, and each weight is the product of its factors. What is sparse can be written
so: see sparse_training/export/README.md for the formats and the layout of their files.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser, counting, wrote
from sparse_training.commands.train import DATA, add_trust, trusted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from sparse_training.runs.checkpoint import Network
    from sparse_training.sharpness.batches import Batch

FORMATS = ("safetensors", "safetensors-sparse", "2:4", "pt", "csr", "onnx", "onnx-dense")
COMPARED = ("safetensors", "safetensors-sparse", "pt")  # formats that `signs` reads
SIZE = 250  # samples that are classified together


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("export", help="write a network for other programs", description=__doc__)
    parser.add_argument(
        "source",
        metavar="RUN|CHECKPOINT",
        type=Path,
        help="folder of a run, or file of a network, or folder of save_pretrained",
    )
    parser.add_argument("--epoch", type=int, help="a saved epoch of a run; by default the last one")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--format", choices=FORMATS, help="by default that of the extension of --out")
    parser.add_argument("--masks", type=Path, metavar="FILE", help="also write the masks, as booleans")
    parser.add_argument("--model", metavar="NAME", help="network of a CHECKPOINT, for ONNX and for accuracies")
    parser.add_argument("--data", metavar="NAME|PATH", help=f"{DATA}, for accuracies; a RUN knows its own name")
    parser.add_argument("--data-root", metavar="DIR", help="folder of the data set that --data or the RUN names")
    parser.add_argument("--samples", type=int, metavar="N", help="test images for the accuracies, 0 for none; all")
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the file, and say what it holds, how large it is and how well it does."""
    from commons.checks import number
    from commons.files import output_file
    from sparse_training.export import FORMATS as KNOWN
    from sparse_training.export import dense_bytes, export, format_of, with_support
    from sparse_training.runs.states import is_pretrained

    name = format_of(args.out, args.format)
    for option in ("out", "masks"):
        if getattr(args, option) is not None:
            output_file(option, getattr(args, option))
    if args.samples is not None:
        number("samples", args.samples, at_least=0, integer=True)
    of_run = args.source.is_dir() and not is_pretrained(args.source)
    found = (_of_run if of_run else _of_checkpoint)(args, KNOWN[name].needs_model)
    network = found.network
    export(with_support(network), args.out, name, model=found.model, x=found.x)
    files = [args.out]
    epoch = f"epoch {network.info['epoch']}, " if "epoch" in network.info else ""
    numbers = sum(value.numel() for value in network.state.values())
    before, after = dense_bytes(network), args.out.stat().st_size
    print(f"{args.out}: {epoch}{len(network.state)} tensors, {numbers:,} numbers, as {name}")
    print(f"bytes     {before:,} dense, {after:,} written, {after / before:.1%}")
    if found.model is None or not found.batches:
        print(f"accuracy  not measured: {found.told}")
    else:
        first = _accuracy(found.model, found.batches, "before")
        second = _accuracy(KNOWN[name].read(args.out, found.model), found.batches, "after")
        n = sum(len(y) for _, y in found.batches)
        print(f"accuracy  {first:.2f} % before, {second:.2f} % after, on {n:,} test samples")
    if args.masks and network.masks is not None:
        network.masks.save(args.masks)
        print(f"{args.masks}: {network.masks!r}")
        files.append(args.masks)
    if name in COMPARED:
        wrote(*files, then=("sparse_training", "signs", found.start, args.out))
    else:
        wrote(*files)


@dataclass(frozen=True)
class _Found:
    """A network; a module with its weights and a batch x of its inputs, if they are at hand; its test samples.

    start: a checkpoint to compare its signs with: the first of a run, or the one that was given. told: why there are
    no samples.
    """

    network: "Network"
    start: Path
    model: "nn.Module | None" = None
    x: "Tensor | None" = None
    batches: "Sequence[Batch]" = ()
    told: str = "--samples 0"


def _of_run(args: argparse.Namespace, needs_model: bool) -> _Found:
    from commons.checks import InputError, refuse
    from sparse_training.data.named import named
    from sparse_training.runs.run import Run

    name, place = named(args.data) if args.data else ("", "")
    if name or (place and args.data_root is not None):
        refuse("data", args.data, "left out", "a run knows its data set, and --data-root says where that is")
    run = Run(args.source, trusted(args))
    epoch = -1 if args.epoch is None else args.epoch
    network, start = run.network(epoch), run.path / "checkpoints" / f"epoch-{min(run.epochs):04}.safetensors"
    try:
        model = run.model(epoch)
    except InputError as error:
        if needs_model:
            raise
        return _Found(network, start, told=str(error))
    try:
        found = run.config.data.load(root=place or args.data_root or "")
        batch = found.samples("test", 2 if args.samples == 0 else args.samples or found.n_test, seed=0)
    except InputError as error:
        return _Found(network, start, model, _zeros(network.info["inputs"]), told=str(error))
    return _Found(network, start, model, batch[0], () if args.samples == 0 else [batch])


def _of_checkpoint(args: argparse.Namespace, needs_model: bool) -> _Found:
    from commons.checks import refuse
    from sparse_training import models
    from sparse_training.data.named import located
    from sparse_training.runs.states import put_into, read_network
    from sparse_training.sharpness.sources import Chosen, Files, of_files

    if args.epoch is not None:
        refuse("epoch", args.epoch, f"an option of {args.source}, which is no folder of a run")
    network = read_network(args.source)
    if args.model is None:
        if needs_model:
            refuse("model", None, "the network of the checkpoint, which ONNX needs", "name it with --model")
        return _Found(network, args.source, told="--model and --data name the network and its samples")
    if args.data is not None:
        data, root = located(args.data, args.data_root)
        files = Files(args.model, args.source, dense=True, data=data)
        source = of_files(files, Chosen("test", args.samples or None, 0, root))
        batches = source.samples.batches
        model = next(source.networks()).model
        return _Found(network, args.source, model, batches[0][0], () if args.samples == 0 else batches)
    model = models.build(args.model, **network.info.get("inputs", {}))
    put_into(model, network.state, args.source)
    sizes = models.published_sizes(args.model) | network.info.get("inputs", {})
    return _Found(network, args.source, model, _zeros(sizes), told="--data names its samples")


def _zeros(sizes: "dict[str, Any]") -> "Tensor | None":
    """Two black images; None for a network of something else."""
    import torch

    if not {"in_channels", "image_size"} <= set(sizes):
        return None
    return torch.zeros(2, sizes["in_channels"], sizes["image_size"], sizes["image_size"])


def _accuracy(function: "Callable[[Tensor], Tensor]", batches: "Sequence[Batch]", when: str) -> float:
    """Percent of the labels that a network in evaluation mode, or what a file computes, gets right."""
    import torch
    from torch import nn

    from sparse_training.sharpness.batches import chunks

    if isinstance(function, nn.Module):
        function.eval()
    right, total, samples = 0, 0, sum(y.numel() for _, y in batches)
    with torch.no_grad(), counting(f"accuracy {when}") as count:
        for x, y in chunks(list(batches), SIZE):
            right += int((function(x).argmax(-1) == y).sum())
            total += y.numel()
            count(total, samples)
    return 100 * right / total
