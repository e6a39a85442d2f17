"""`export RUN`: write the merged network of an epoch as a plain state dict in safetensors.

The names are those of torchvision, each weight is the product of its factors, and nothing is pickled.
"""

import argparse
from pathlib import Path

from commons.cli import Parser


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("export", help="write a run's network as a plain state dict", description=__doc__)
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of the run")
    parser.add_argument("--epoch", type=int, default=-1, help="a saved epoch; -1 is the last one")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="safetensors file to write")
    parser.add_argument("--masks", type=Path, metavar="FILE", help="also write the masks, as booleans")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Write the file and say what is in it."""
    from commons.files import output_file
    from sparse_training.runs.run import Run
    from sparse_training.tensor_files import write_tensors

    source = Run(args.folder)
    network = source.network(args.epoch)
    write_tensors(output_file("out", args.out), network.state, {"format": "pt"})
    parameters = sum(value.numel() for value in network.state.values())
    print(f"{args.out}: epoch {network.info['epoch']}, {len(network.state)} tensors, {parameters:,} numbers")
    if args.masks and network.masks is not None:
        network.masks.save(args.masks)
        print(f"{args.masks}: {network.masks!r}")
