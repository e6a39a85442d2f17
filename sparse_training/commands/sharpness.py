"""`sharpness`: λ_max of every saved network of runs, or of one network and checkpoint, with its error and its reason.

CSV and .npz files hold what `python -m figures sharpness` draws.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser, wrote
from sparse_training.commands.train import DATA, add_trust, trusted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparse_training.sharpness.sources import Chosen, Source

# Options that only a network of one's own has, by their names in the parsed arguments.
OWN = ("checkpoint", "masks", "dense", "data", "loss", "normalize", "beta")
# Columns that are printed; the file has more.
SHOWN = ("epoch", "quantity", "layer", "space", "beta", "value", "error", "hvps", "converged", "loss", "accuracy")


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "sharpness",
        help="largest Hessian eigenvalue of every saved network of a run",
        description="The Hessian of the mean cross-entropy, in evaluation mode, without weight decay, in the active "
        "prunable weights, merged; the loss and the accuracy on the same samples stand beside it. Each solve starts "
        "from the eigenvector of the epoch before where that still points the right way. The table is written anew "
        "after every network.",
    )
    parser.add_argument("source", metavar="RUN", nargs="+", help="folders of runs, or one module:callable")
    own = parser.add_argument_group("for module:callable")
    own.add_argument("--checkpoint", type=Path, help="state dict, .safetensors or .pt (of which only tensors are read)")
    own.add_argument("--masks", type=Path, help="masks (.safetensors); default: the weights that are not 0 are active")
    own.add_argument("--dense", action="store_true", default=None, help="all weights are active, those at 0 too")
    text = f"{DATA}; the callable may also return (x, y) or batches; default: digits"
    own.add_argument("--data", metavar="NAME|PATH", help=text)
    own.add_argument("--loss", help="module:callable, the loss of (output, y) (default: cross-entropy)")
    own.add_argument("--normalize", help="module:callable from pixels in [0, 1], or the callable's x, to inputs")
    own.add_argument(
        "--beta",
        type=float,
        nargs="+",
        help="m² − w² for --space factors or flow: one number, or those of the "
        "first and the last layer with a geometric progression between them; a run has its own",
    )
    text = "folder of the data set that a RUN or --data names"
    parser.add_argument("--data-root", default=None, metavar="DIR", help=text)
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
    parser.add_argument("--smallest", action="store_true", help="λ_min too")
    parser.add_argument("--trace", action="store_true", help="the trace too, with a 99 %% interval")
    parser.add_argument("--spectrum", action="store_true", help="density of all eigenvalues, as .npz for each network")
    parser.add_argument("--layers", action="store_true", help="λ_max of each layer's block too")
    parser.add_argument("--kinds", action="store_true", help="λ_max of each kind's too: of q, k, v, ... in all blocks")
    parser.add_argument("--line", action="store_true", help="the loss along the top eigenvector, as .csv")
    parser.add_argument("--seed", type=int, default=0, help="seed of random directions")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder of the files (default: RUN/sharpness)")
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure every source, print its table, write it as CSV."""
    from commons.checks import refuse
    from commons.files import output_directory, write_csv
    from commons.tables import aligned
    from sparse_training.devices import device_at_hand
    from sparse_training.sharpness.sources import of_run

    named = [source for source in args.source if ":" in source and not Path(source).exists()]
    if named and (len(args.source) > 1 or args.checkpoint is None or args.out is None):
        refuse("source", named[0], "alone, with --checkpoint and --out", "give one module:callable and its state dict")
    given = [] if named else [name for name in OWN if getattr(args, name) is not None]
    if given:
        hint = "--data-root says where the data of a run are" if "data" in given else ""
        refuse("source", args.source[0], f"a module:callable, which --{given[0]} is for", hint)
    for extra in ("trace", "spectrum", "layers", "kinds", "line"):
        if getattr(args, extra) and "theta" not in args.space:
            refuse("space", " ".join(args.space), f"with theta, the space of --{extra}")
    if args.out and len({Path(source).name for source in args.source}) < len(args.source):
        refuse("source", " ".join(args.source), "of different names, by which the files in --out are told apart")
    device_at_hand("device", args.device)
    for name in () if named else args.source:
        _check_run(args, name)
    for name in args.source:
        source = _of_files(args, name) if named else of_run(Path(name), _chosen(args), trusted(args))
        folder = output_directory("out", args.out or Path(name) / "sharpness")
        prefix = f"{Path(name).name}-" if len(args.source) > 1 and args.out else ""
        for line in source.told:
            print(line)
        rows: list[dict[str, Any]] = []
        for new in _measure(args, source, folder, prefix):
            rows += new
            write_csv(folder / f"{prefix}eigenvalues.csv", rows)  # whole after every network: a kill loses one at most
        print(f"{name}, {args.split} samples\n{aligned([{name: row[name] for name in SHOWN} for row in rows])}")
        for row in rows:
            if row["converged"] is False:
                print(f"epoch {row['epoch']}, {row['quantity']}: NOT CONVERGED: {row['reason']}")
        table = folder / f"{prefix}eigenvalues.csv"
        wrote(table, then=("figures", "sharpness", table))


def _chosen(args: argparse.Namespace) -> "Chosen":
    from sparse_training.sharpness.sources import Chosen

    return Chosen(args.split, args.samples, args.seed, args.data_root)


def _check_run(args: argparse.Namespace, name: str) -> None:
    """Refuse a run that lacks what is asked, before anything is measured."""
    from commons.checks import refuse
    from sparse_training.runs.run import Run
    from sparse_training.sharpness.sources import run_betas

    run = Run(Path(name), trusted(args))
    if not run.epochs:
        refuse("source", name, "a run with saved networks", "train it with checkpoints")
    if set(args.space) - {"theta"} and run_betas(run) is None:
        written = run.config.reparam.name if run.config.reparam is not None else "none"
        refuse("space", " ".join(args.space), f"theta, the only space of {name}", f"its reparam={written!r} has no β")


def _of_files(args: argparse.Namespace, name: str) -> "Source":
    from dataclasses import replace

    from commons.checks import refuse
    from sparse_training.data.named import located
    from sparse_training.sharpness.sources import Files, of_files

    if set(args.space) - {"theta"} and args.beta is None:
        refuse("beta", None, f"the m² − w² that --space {' '.join(args.space)} needs", "a checkpoint does not hold it")
    if args.beta is not None and len(args.beta) > 2:
        refuse("beta", args.beta, "one number, or those of the first and the last layer")
    if args.masks is not None and args.dense:
        refuse("dense", True, "for a network with --masks", "give one of them")
    data, root = located(args.data or "digits", args.data_root)
    files = Files(
        model=name,
        state=args.checkpoint,
        masks=args.masks,
        dense=bool(args.dense),
        data=data,
        loss=args.loss,
        normalize=args.normalize,
        beta=None if args.beta is None else (args.beta[0], args.beta[-1]),
    )
    return of_files(files, replace(_chosen(args), root=root))


def _measure(args: argparse.Namespace, source: "Source", folder: Path, prefix: str) -> "Iterator[list[dict[str, Any]]]":
    """Yield the rows of each network when it is done; spectra and lines go to files of their own."""
    from dataclasses import replace

    from commons.cli import progress
    from sparse_training.sharpness import report
    from sparse_training.sharpness.along import Question, along

    spaces = sorted(args.space, key=lambda space: space != "theta")  # what is extra belongs to theta
    asked = [("largest", space) for space in spaces] + ([("smallest", "theta")] if args.smallest else [])
    common = Question(tol=args.tol, seed=args.seed, device=args.device, params=args.params, curvature=args.curvature)
    with progress() as bar:
        task = bar.add_task("sharpness", total=len(asked) * source.count)
        for which, space in asked:
            question = replace(common, which=which, space=space)
            quantity = {"largest": "λ_max", "smallest": "λ_min"}[which]
            for checkpoint, hessian, pair in along(source, question):
                columns = report.pair_columns(pair)
                rows = [report.row(checkpoint, hessian, question, quantity=quantity, **columns)]
                if (which, space) == asked[0]:
                    stem = prefix + ("network" if checkpoint.epoch is None else f"epoch-{checkpoint.epoch:04}")
                    if args.trace:
                        rows.append(report.trace_row(checkpoint, hessian, replace(question, space="theta")))
                    for kinds in (kinds for kinds, asked in ((False, args.layers), (True, args.kinds)) if asked):
                        in_theta = replace(question, space="theta")
                        rows += report.layer_rows(checkpoint, hessian, source.samples, in_theta, kinds)
                    if args.spectrum:
                        report.save_spectrum(folder / f"{stem}-spectrum.npz", hessian, args.seed)
                    if args.line:
                        report.save_line(folder / f"{stem}-line.csv", hessian, pair)
                epoch = "" if checkpoint.epoch is None else f"epoch {checkpoint.epoch}, "
                right = rows[0]["accuracy"]
                at = f"loss {hessian.value:.4g}" + ("" if right is None else f", accuracy {right:.4g} %")
                bar.console.print(f"{epoch}{quantity} in {space}: {pair}; {at}", highlight=False, soft_wrap=True)
                bar.advance(task)
                yield rows
