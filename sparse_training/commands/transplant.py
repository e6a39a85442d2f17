"""`transplant`: sparse runs that start from chosen masks, signs and magnitudes of source runs, compared with them.

Every run is a folder of its own; the same command again goes on from what is there.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commons.cli import Parser

if TYPE_CHECKING:
    from sparse_training.transplant import Cell
    from sparse_training.transplant.experiment import SourceRun


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "transplant",
        help="sparse runs from chosen masks, signs and magnitudes of source runs, with statistics",
        description="Without --cell, the rows of the paper's table: early signs, final signs, final magnitudes and "
        "random init, each on the learned mask. A cell reads mask=learned,signs=epoch:10,magnitudes=random,rest=init; "
        "mask: learned, shuffled, SCORE or SCORE:DISTRIBUTION; signs: init, final, random, epoch:K, perturbed:Q, "
        "run:PATH; magnitudes: init, learned, random, constant; rest (biases, normalizations): init, learned.",
    )
    sources = parser.add_mutually_exclusive_group(required=True)
    sources.add_argument("--source", nargs="+", metavar="RUN", help="finished runs, one a seed and method")
    sources.add_argument(
        "--method",
        nargs="+",
        metavar="NAME[:SETTING=VALUE,...]",
        help="methods to train sources with, e.g. rigl:method.every=20",
    )
    parser.add_argument("--preset", default="digits-mlp", help="configuration of the sources that --method trains")
    parser.add_argument("--config", type=Path, help="TOML file to take instead of a preset")
    parser.add_argument("--data", default="", help="folder of the data")
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train what is missing, then print and write the report."""
    from commons.checks import number
    from commons.cli import progress
    from sparse_training.transplant.experiment import run_cells
    from sparse_training.transplant.report import write_report

    number("seeds", args.seeds, at_least=1)
    number("workers", args.workers, at_least=0)
    number("margin", args.margin, at_least=0)
    sources = _sources(args)
    cells = _cells(args, sources)
    with progress() as bar:
        task = bar.add_task("runs", total=len(sources) * (1 + len(cells)))
        rows = run_cells(
            sources, cells, args.out, workers=args.workers, done=lambda n, total: bar.update(task, completed=n)
        )
    command = f"python -m sparse_training {shlex.join(sys.argv[1:])}"
    print(write_report(rows, cells, args.margin, command, args.report or args.out / "report"), end="")


def _sources(args: argparse.Namespace) -> "list[SourceRun]":
    from sparse_training.runs.config import Config
    from sparse_training.transplant.experiment import given, planned

    if args.source:
        return given(args.source)
    base = Config.load(args.config) if args.config else Config.preset(args.preset)
    base = base.with_tree({"data": {"root": args.data}}) if args.data else base
    found = []
    for text in args.method:
        name, _, settings = text.partition(":")
        config = base.with_set([f"method={name}", f"mask.density={args.density}", *args.set, *_split(settings)])
        found += planned(name, config, range(args.seeds), args.out)
    return found


def _cells(args: argparse.Namespace, sources: "list[SourceRun]") -> "list[Cell]":
    from sparse_training.transplant import Cell, paper_cells

    epochs = min(source.config.epochs for source in sources)
    early = args.early if args.early is not None else [max(1, round(share * epochs)) for share in (0.1, 0.3)]
    if args.cell:
        return [Cell.parse(text) for text in args.cell]
    return paper_cells(tuple(dict.fromkeys(early)))


def _split(settings: str) -> list[str]:
    return [text for text in settings.split(",") if text]
