"""`sharpness`: λ_max of every saved network of runs, or of one network and checkpoint, with its error and its reason.

It draws nothing: CSV and .npz files hold what `python -m figures sharpness` needs.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparse_training.sharpness.along import Checkpoint
    from sparse_training.sharpness.batches import Batch

    Networks = tuple[Callable[[], Iterator[Checkpoint]], int, Batch]


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sharpness",
        help="largest Hessian eigenvalue of every saved network of a run",
        description="The Hessian of the mean cross-entropy, in evaluation mode, without weight decay, in the active "
        "prunable weights, merged. Each solve starts from the eigenvector of the epoch before where that still points "
        "the right way. The table is written anew after every network.",
    )
    parser.add_argument("source", metavar="RUN", nargs="+", help="folders of runs, or one module:callable")
    parser.add_argument("--checkpoint", type=Path, help="state dict (.safetensors) for module:callable")
    parser.add_argument("--masks", type=Path, help="masks (.safetensors) for module:callable")
    parser.add_argument("--data", default="digits", help="data set for module:callable")
    parser.add_argument("--data-root", default=None, help="folder of the data")
    parser.add_argument("--split", default="train", choices=["train", "test"], help="samples to measure on")
    parser.add_argument("--samples", type=int, default=None, help="how many of them; all by default")
    parser.add_argument("--tol", type=float, default=1e-3, help="relative tolerance of each eigenvalue")
    parser.add_argument("--params", default="prunable", choices=["prunable", "all"], help="weights that count")
    parser.add_argument("--curvature", default="hessian", choices=["hessian", "gauss-newton"])
    parser.add_argument(
        "--space",
        nargs="+",
        default=["theta"],
        choices=["theta", "factors", "flow"],
        help="θ; the factors (m, w) of θ = m ⊙ w; the metric of their flow",
    )
    parser.add_argument("--beta", type=float, default=1.0, help="m² − w² of the last two spaces")
    parser.add_argument("--smallest", action="store_true", help="λ_min too")
    parser.add_argument("--trace", action="store_true", help="the trace too, with a 99 %% interval")
    parser.add_argument("--density", action="store_true", help="spectral density, as .npz for each network")
    parser.add_argument("--layers", action="store_true", help="λ_max of each layer's block too")
    parser.add_argument("--line", action="store_true", help="the loss along the top eigenvector, as .csv")
    parser.add_argument("--seed", type=int, default=0, help="seed of random directions")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder of the files (default: RUN/sharpness)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure every source, print its table, write it as CSV."""
    from commons.checks import refuse
    from commons.files import output_directory, write_csv
    from commons.tables import aligned
    from sparse_training.devices import device_at_hand
    from sparse_training.runs.run import Run

    named = [source for source in args.source if ":" in source and not Path(source).exists()]
    if named and (len(args.source) > 1 or args.checkpoint is None or args.out is None):
        refuse("source", named[0], "alone, with --checkpoint and --out", "give one module:callable and its state dict")
    if not named and (args.checkpoint is not None or args.masks is not None):
        refuse("source", args.source[0], "a module:callable, which --checkpoint and --masks are for")
    if args.line and "theta" not in args.space:
        refuse("space", " ".join(args.space), "with theta, along whose top eigenvector --line goes")
    if args.out and len({Path(source).name for source in args.source}) < len(args.source):
        refuse("source", " ".join(args.source), "of different names, by which the files in --out are told apart")
    device_at_hand("device", args.device)
    for source in () if named else args.source:
        if not Run(Path(source)).epochs:
            refuse("source", source, "a run with saved networks", "train it with checkpoints")
    for source in args.source:
        folder = output_directory("out", args.out or Path(source) / "sharpness")
        prefix = f"{Path(source).name}-" if len(args.source) > 1 and args.out else ""
        networks = _of_callable(args) if named else _of_run(args, Path(source))
        rows: list[dict[str, Any]] = []
        for new in _measure(args, *networks, folder, prefix):
            rows += new
            write_csv(folder / f"{prefix}eigenvalues.csv", rows)  # whole after every network: a kill loses one at most
        shown = ("epoch", "quantity", "layer", "space", "coordinates", "value", "error", "hvps", "converged")
        print(f"{source}, {args.split} samples\n{aligned([{name: row[name] for name in shown} for row in rows])}")
        for row in rows:
            if row["converged"] is False:
                print(f"epoch {row['epoch']}, {row['quantity']}: NOT CONVERGED: {row['reason']}")


def _of_run(args: argparse.Namespace, path: Path) -> "Networks":
    """How to go through the networks of a run, how many there are, and the samples."""
    from sparse_training import data
    from sparse_training.runs.run import Run
    from sparse_training.sharpness.along import of_run

    run = Run(path)
    settings = run.config.data
    samples = data.load(settings.name, args.data_root or settings.root or None, image_size=settings.image_size or None)
    return lambda: of_run(run), len(run.epochs), samples.samples(args.split, args.samples, seed=args.seed)


def _of_callable(args: argparse.Namespace) -> "Networks":
    from sparse_training import data
    from sparse_training.sharpness.along import of_files

    samples = data.load(args.data, args.data_root)
    checkpoint = of_files(args.source[0], samples.shape, samples.num_classes, args.checkpoint, args.masks)
    return lambda: iter([checkpoint]), 1, samples.samples(args.split, args.samples, seed=args.seed)


def _measure(
    args: argparse.Namespace,
    networks: "Callable[[], Iterator[Checkpoint]]",
    count: int,
    batch: "Batch",
    folder: Path,
    prefix: str,
) -> "Iterator[list[dict[str, Any]]]":
    """Rows of everything asked, as each network is done; densities and lines go to files of their own."""
    from dataclasses import replace

    from commons.cli import progress
    from sparse_training.sharpness import report
    from sparse_training.sharpness.along import Question, along

    spaces = sorted(args.space, key=lambda space: space != "theta")  # what is extra belongs to theta
    asked = [("largest", space) for space in spaces] + ([("smallest", "theta")] if args.smallest else [])
    with progress() as bar:
        task = bar.add_task("sharpness", total=len(asked) * count)
        for which, space in asked:
            question = Question(which, args.tol, args.seed, space, args.beta, args.device, args.params, args.curvature)
            quantity = {"largest": "λ_max", "smallest": "λ_min"}[which]
            for checkpoint, hessian, pair in along(networks(), batch, question):
                columns = report.pair_columns(pair)
                rows = [report.row(checkpoint, hessian, question, quantity=quantity, **columns)]
                if (which, space) == asked[0]:
                    stem = prefix + ("network" if checkpoint.epoch is None else f"epoch-{checkpoint.epoch:04}")
                    in_theta = replace(question, space="theta")
                    if args.trace:
                        rows.append(report.trace_row(checkpoint, hessian, in_theta))
                    if args.layers:
                        rows += report.layer_rows(checkpoint, hessian, batch, in_theta)
                    if args.density:
                        report.save_density(folder / f"{stem}-density.npz", hessian, args.seed)
                    if args.line:
                        report.save_line(folder / f"{stem}-line.csv", hessian, pair)
                epoch = "" if checkpoint.epoch is None else f"epoch {checkpoint.epoch}, "
                bar.console.print(f"{epoch}{quantity} in {space}: {pair}", highlight=False, soft_wrap=True)
                bar.advance(task)
                yield rows
