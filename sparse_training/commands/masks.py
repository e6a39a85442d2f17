"""`masks`: prunes a network at initialization, prints the counts by layer and writes the masks."""

import argparse
import sys
from typing import TYPE_CHECKING

from commons.cli import Parser, wrote
from sparse_training.commands.train import DATA

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparse_training.masks import Masks


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("masks", help="prune a network at initialization", description=__doc__)
    parser.add_argument(
        "--model",
        required=True,
        help="mlp, cnn, resnet20, resnet18, resnet50, deit_small, gpt, gpt_tied, gpt_small or module:callable",
    )
    parser.add_argument(
        "--score",
        default="random",
        help="random, magnitude, snip, grasp, synflow, probe, fitting or module:callable",
    )
    parser.add_argument("--density", type=float, required=True, help="share of the prunable weights to keep, in (0, 1]")
    parser.add_argument(
        "--distribution", default="global", help="global, uniform, erk, balanced, N:M such as 2:4, or module:callable"
    )
    text = f"{DATA}: the batch that a score may need, and the sizes below"
    parser.add_argument("--data", metavar="NAME|PATH", help=text)
    parser.add_argument("--data-root", "--root", metavar="DIR", help="folder of the data set that --data names")
    parser.add_argument("--samples", type=int, default=128, help="images in the batch")
    parser.add_argument("--in-channels", type=int, help="channels of an image (default: the model's published ones)")
    parser.add_argument("--image-size", type=int, help="pixels a side (default: as published)")
    parser.add_argument("--classes", type=int, help="number of classes (default: as published)")
    parser.add_argument("--include", nargs="+", default=[], metavar="PATTERN", help="prune only matching weights")
    parser.add_argument("--exclude", nargs="+", default=[], metavar="PATTERN", help="leave matching weights dense")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights, the batch and random masks")
    parser.add_argument("--out", default="masks.safetensors", help="file to write")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the masks, print the table and write the file."""
    import warnings

    from commons.files import output_file
    from sparse_training.masks import EmptyLayer, make_masks

    output_file("out", args.out)
    model, batch = _network_and_batch(args)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EmptyLayer)
        masks = make_masks(
            model,
            args.density,
            args.score,
            args.distribution,
            batch=batch,
            seed=args.seed,
            include=args.include,
            exclude=args.exclude,
        )
    print(table(masks, model), end="")
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    masks.save(args.out)
    wrote(args.out, then=("sparse_training", "train", "--set", f"mask.file={args.out}"))


def table(masks: "Masks", model: "nn.Module") -> str:
    """Layer, shape, active weights and density in percent, then the totals over prunable and over all parameters."""
    from commons.tables import aligned

    parameters = sum(parameter.numel() for parameter in model.parameters())
    left = parameters - masks.total + masks.active
    counts: list[tuple[str, str | None, int, int]] = [
        (layer.name, "×".join(map(str, layer.shape)), layer.active, layer.total) for layer in masks.layers()
    ]
    counts += [("prunable weights", None, masks.active, masks.total), ("all parameters", None, left, parameters)]
    return aligned(
        [
            {"layer": name, "shape": shape, "active": active, "of": total, "density %": 100 * active / total}
            for name, shape, active, total in counts
        ]
    )


def _network_and_batch(args: argparse.Namespace) -> "tuple[nn.Module, tuple[Tensor, Tensor] | None]":
    """The network, and what its score needs of the input: a batch of the data set, or one that has only a shape."""
    import torch

    from commons.checks import InputError
    from sparse_training import data, models
    from sparse_training.data.named import located
    from sparse_training.masks import SCORES

    needs = SCORES.find("score", args.score).needs
    source = data.load(*located(args.data, args.data_root)) if args.data else None
    if needs == "batch" and source is None:
        raise InputError(f"score={args.score!r} needs a batch: name a data set with --data")
    sizes = {"in_channels": args.in_channels, "image_size": args.image_size, "num_classes": args.classes}
    published = models.published_sizes(args.model)
    if source is not None:
        published |= source.inputs
    sizes = {name: published[name] if size is None else size for name, size in sizes.items()}
    model = models.build(args.model, **sizes, seed=args.seed)
    if source is not None:
        return model, source.samples("train", min(args.samples, source.n_train), args.seed)
    shape = (1, sizes["in_channels"], sizes["image_size"], sizes["image_size"])
    return model, (torch.zeros(shape), torch.zeros(1, dtype=torch.int64)) if needs == "shapes" else None
