"""`data DIR`: says which data set a folder holds, and with --verify whether every image can be decoded."""

import argparse
import sys

from commons.cli import Parser


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("data", help="say which data set a folder holds", description=__doc__)
    parser.add_argument("dir", metavar="DIR", help="folder with CIFAR's files or with train/CLASS/IMAGE")
    parser.add_argument("--verify", action="store_true", help="decode every image of an image folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 if `--verify` finds an image that cannot be decoded."""
    from commons.cli import progress
    from sparse_training.data.found import bad_images, look

    print("\n".join(look(args.dir).lines()))
    if not args.verify:
        return 0
    with progress() as bar:
        task = bar.add_task("decode", total=None)
        faults = bad_images(args.dir, lambda done, total: bar.update(task, completed=done, total=total))
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"verified  {len(faults):,} images cannot be decoded")
    return 1 if faults else 0
