"""`transplant`: sparse runs that start from chosen masks, signs and magnitudes of source runs, compared with them.

The runs are those of a sweep in the folder OUT, whose ledger, OUT/ledger.jsonl, has a line for each finished one; the
same command again goes on from what is there.
"""

import argparse
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commons.cli import Parser, counting, wrote
from sparse_training.commands.train import DATA, add_trust, trusted

if TYPE_CHECKING:
    from sparse_training.runs.config import Config
    from sparse_training.sweeps.plan import Treatment
    from sparse_training.transplant import Cell


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "transplant",
        help="sparse runs from chosen masks, signs and magnitudes of source runs, with statistics",
        description="Without --cell, the rows of the paper's table: early signs, final signs, final magnitudes and "
        "random init, each on the learned mask. A cell reads mask=learned,signs=epoch:10,magnitudes=random,rest=init; "
        "mask: learned, shuffled, SCORE or SCORE:DISTRIBUTION; signs: init, final, random, epoch:K, perturbed:Q, "
        "run:PATH; magnitudes: init, learned, random, constant; rest (biases, normalizations): init, learned. With "
        "--final and --init the source is two checkpoints of your own; preset and --set say how starts are trained and "
        "on what, as --set epochs=20 data.name=module:callable.",
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--source", nargs="+", metavar="RUN", help="finished runs, one a seed and method")
    sources.add_argument(
        "--method",
        nargs="+",
        metavar="NAME[:SETTING=VALUE,...]",
        help="methods to train sources with, e.g. rigl:method.every=20",
    )
    sources.add_argument("--final", type=Path, metavar="FILE", help="checkpoint of your own, with --init and --model")
    parser.add_argument("--init", type=Path, metavar="FILE", help="checkpoint in which the training of --final began")
    parser.add_argument("--masks", type=Path, help="masks of --final (default: those in it, or its weights but zeros)")
    parser.add_argument("--model", help="network of --final and --init, a name or module:callable")
    parser.add_argument("--preset", default="digits-mlp", help="configuration of the sources that --method trains")
    parser.add_argument("--config", type=Path, help="TOML file to take instead of a preset")
    parser.add_argument("--data", default="", metavar="NAME|PATH", help=f"{DATA} (data.name or data.root)")
    parser.add_argument("--density", type=float, default=0.1, help="share of the prunable weights that is kept")
    parser.add_argument("--set", nargs="+", default=[], metavar="SETTING=VALUE", help="settings of every source")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ... of the sources that --method trains")
    parser.add_argument("--cell", action="append", default=[], metavar="CELL", help="a start to run; may be repeated")
    parser.add_argument(
        "--early", type=int, nargs="*", help="epochs of early signs (default: 10 and 30 %% of training)"
    )
    parser.add_argument("--margin", type=float, default=1.0, help="points below the baseline that count as recovered")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 is one a core")
    parser.add_argument("--out", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--report", type=Path, help="write REPORT.csv and REPORT.md (default: OUT/report)")
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train what is missing, then print and write the report; returns the exit status."""
    from commons.checks import number
    from commons.files import output_file
    from sparse_training.training.loop import PreemptedError
    from sparse_training.transplant.experiment import run_cells
    from sparse_training.transplant.report import write_report

    number("seeds", args.seeds, at_least=1, at_most=10_000)
    number("margin", args.margin, at_least=0)
    report = args.report or args.out / "report"
    for suffix in (".csv", ".md"):
        output_file("report", report.with_suffix(suffix))
    sources = _sources(args)
    cells = _cells(args, sources)
    with counting("runs") as count:
        try:
            rows = run_cells(sources, cells, args.out, seeds=range(args.seeds), workers=args.workers, progress=count)
        except PreemptedError as stopped:
            print(stopped, file=sys.stderr)
            return os.EX_TEMPFAIL
    command = f"python -m sparse_training {shlex.join(sys.argv[1:])}"
    print(write_report(rows, cells, args.margin, command, report), end="")
    table = report.with_suffix(".csv")
    wrote(table, report.with_suffix(".md"), then=("figures", "transplant", table))
    return 0


def _sources(args: argparse.Namespace) -> "list[Treatment]":
    from sparse_training.runs.config import Config
    from sparse_training.transplant.sources import given, planned

    if args.source:
        return given(args.source, trusted(args))
    base = Config.load(args.config, trusted(args)) if args.config else Config.preset(args.preset)
    base = base.with_data(args.data) if args.data else base
    if args.final is not None:
        return _of_checkpoints(args, base)
    found = []
    asked = [_method(text) for text in args.method]
    names = [name for name, _ in asked]
    for text, (name, settings) in zip(args.method, asked, strict=True):
        config = base.with_set([f"method={name}", f"mask.density={args.density}", *args.set, *settings])
        label = name if names.count(name) == 1 else text  # two settings of one method are two sources
        found.append(planned(label, config))
    return found


def _of_checkpoints(args: argparse.Namespace, base: "Config") -> "list[Treatment]":
    from commons.checks import refuse
    from sparse_training.runs.run import Run
    from sparse_training.transplant.foreign import as_runs
    from sparse_training.transplant.sources import given

    for name in ("init", "model"):
        if getattr(args, name) is None:
            refuse(name, None, "given, as --final asks")
    config = base.with_set([f"model={args.model}", *args.set])
    folders = as_runs(config, args.init, args.final, args.masks, range(args.seeds), args.out / "given")
    reached = Run(folders[0]).summary["test_accuracy"]
    print(
        f"the baseline is {args.final}, with {reached:.2f} % of the test samples of {config.data.name!r}; if it was "
        "trained on other data, or on inputs scaled otherwise, name them: --set data.name=module:callable",
        file=sys.stderr,
    )
    return given(folders, config.code)


def _cells(args: argparse.Namespace, sources: "list[Treatment]") -> "list[Cell]":
    from sparse_training.transplant import Cell, paper_cells

    epochs = min(source.config.epochs for source in sources)
    shares = (0.1, 0.3) if args.final is None else ()  # two checkpoints have no signs between
    early = args.early if args.early is not None else [max(1, round(share * epochs)) for share in shares]
    if args.cell:
        return [Cell.parse(text) for text in args.cell]
    return paper_cells(tuple(dict.fromkeys(early)))


def _method(text: str) -> tuple[str, list[str]]:
    """Name and settings of NAME[:SETTING=VALUE,...]; the name may be a module:callable."""
    parts = re.fullmatch(r"([^:=]*(?::[^:=]*)?)(?::([^:=]*=.*))?", text)
    name, settings = parts.groups() if parts else (text, None)
    return name, [setting for setting in (settings or "").split(",") if setting]
