"""`data DIR`: says which data set a folder holds, and with --verify whether every image can be decoded.

Of text, `data python-text` or `data FILE --text`, it says what is trained on and what is held out, and with --baselines
the bits per byte of simple models on the held-out text. `data --cache` lists the decoded pixels that are kept.
"""

import argparse
import sys
from pathlib import Path

from commons.cli import Parser


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("data", help="say which data set a folder holds", description=__doc__)
    parser.add_argument(
        "dir", metavar="DIR", nargs="?", help="folder with CIFAR's files or train/CLASS/IMAGE; text; python-text"
    )
    parser.add_argument("--verify", action="store_true", help="decode every image of an image folder")
    parser.add_argument("--text", action="store_true", help="DIR is a text file or a folder of text files")
    parser.add_argument(
        "--baselines", action="store_true", help="bits per byte of n-grams, zlib and xz on held-out text"
    )
    parser.add_argument("--context", type=int, metavar="N", help="bytes of a crop (default: 128)")
    parser.add_argument("--test-crops", type=int, metavar="N", help="held-out crops to test on (default: all)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="CSV of what --baselines finds")
    parser.add_argument("--cache", action="store_true", help="list the decoded pixels that are kept, without DIR")
    parser.add_argument("--clear-cache", action="store_true", help="remove them; what needs them decodes again")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found; 1 if `--verify` finds an image that cannot be decoded."""
    from commons.checks import refuse
    from commons.cli import counting, wrote
    from sparse_training.data.found import bad_images, look

    if args.cache or args.clear_cache:
        if args.dir is not None:
            refuse("dir", args.dir, "left out with --cache and --clear-cache, which are about all data sets")
        _cache(args.clear_cache)
        return 0
    if args.dir is None:
        refuse("dir", None, "a folder with a data set", "data --cache lists the decoded pixels that are kept")
    if args.out is not None and not args.baselines:
        refuse("out", str(args.out), "left out without --baselines, whose table it takes")
    if args.text or args.baselines or args.dir == "python-text":
        _text(args)
        return 0
    found = look(args.dir)
    print("\n".join(found.lines()))
    if args.verify:
        with counting("decode") as count:
            faults = bad_images(args.dir, count)
        for fault in faults:
            print(fault, file=sys.stderr)
        print(f"verified  {len(faults):,} images cannot be decoded")
        if faults:
            return 1
    wrote(then=("sparse_training", "train", "--set", f"data.name={found.name}", "--data", args.dir))
    return 0


def _cache(clear: bool) -> None:
    from datetime import datetime

    from commons.tables import aligned
    from sparse_training.data import cache

    if clear:
        number, size = cache.clear()
        print(f"removed   {number:,} files, {size:,} bytes, from {cache.cache_folder()}")
        return
    files = cache.cached()
    rows = [
        {"file": path.name, "bytes": status.st_size, "written": f"{datetime.fromtimestamp(status.st_mtime):%Y-%m-%d}"}
        for path, status in files.items()
    ]
    print(aligned(rows) if rows else "", end="")
    size = sum(status.st_size for status in files.values())
    print(f"kept      {len(files):,} files, {size:,} bytes, in {cache.cache_folder()}")


def _text(args: argparse.Namespace) -> None:
    from commons.cli import counting, wrote
    from commons.files import output_file, write_csv
    from commons.tables import aligned
    from sparse_training import data
    from sparse_training.data.baselines import baselines
    from sparse_training.data.text import Text

    own = args.dir == "python-text" and not Path(args.dir).exists()
    name, root = ("python-text", None) if own else ("text", args.dir)
    found = data.load(name, root, context=args.context, test_crops=args.test_crops)
    assert isinstance(found, Text)
    record = found.record
    for split, crops in (("train", found.n_train), ("test", found.n_test)):
        files, size = len(record["files"][split]), record["bytes"][split]
        print(f"{split:<9} {files:,} files, {size:,} bytes, {crops:,} crops of {found.context}")
    print(f"dropped   {record['dropped_test_lines']:,} long lines of the test that are in training too")
    print(f"digest    {record['digest']}")
    if args.baselines:
        with counting("models") as count:
            rows = [{"model": name, "bits per byte": bits} for name, bits in baselines(found, report=count).items()]
        print(f"\n{aligned(rows)}", end="")
        if args.out is not None:
            tested = {"digest": record["digest"], "test crops": found.n_test}
            write_csv(output_file("out", args.out), [{**tested, **row} for row in rows])
            wrote(args.out)
    if own:
        wrote(then=("sparse_training", "train", "--preset", "text-gpt"))
    else:
        wrote(then=("sparse_training", "train", "--preset", "text-gpt", "--data", args.dir))
