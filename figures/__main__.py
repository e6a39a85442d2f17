"""`python -m figures`: reproduce everything, or draw one result file. Heavy imports wait for the command."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser
from commons.files import output_directory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _reproduce(args: argparse.Namespace) -> None:
    from figures.reproduce import Settings, reproduce

    reproduce(Path(args.out), Settings(args.device, args.seeds, args.grid), force=args.force, workers=args.workers)


def _phase(args: argparse.Namespace) -> None:
    from dynamics import PhaseDiagram
    from figures.phase_diagrams import phase_figure

    _save(phase_figure, PhaseDiagram.load(args.file), args)


def _sweep(args: argparse.Namespace) -> None:
    from dynamics import Sweep
    from figures.sweeps import sweep_figure

    _save(sweep_figure, Sweep.load(args.file), args)


def _sharpness(args: argparse.Namespace) -> None:
    from figures.sharpness import figure_of

    files = [Path(file) for file in args.files]
    args.file = files[0]
    _save(figure_of, files, args)


def _save(draw: Callable[[Any], "Figure"], result: Any, args: argparse.Namespace) -> None:
    from figures.style import paper_style, save_figure

    stem = Path(args.out or args.file).with_suffix("")
    output_directory("--out", stem.parent)
    with paper_style():
        for path in save_figure(draw(result), stem):
            print(path)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = Parser(prog="python -m figures", description="Figures, tables and the report on the paper's claims.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    register_reproduce(commands)
    register(commands)
    return parser.execute(argv)


def register_reproduce(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `reproduce`."""
    text = "prove, integrate, train on digits, and write figures, tables and report.html"
    command = commands.add_parser("reproduce", help=text, description=text)
    command.add_argument("--out", required=True, help="folder; an interrupted run in it is taken up")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--seeds", type=int, default=5, help="seeds of each network, at least 3")
    command.add_argument("--grid", type=int, default=256, help="starts along each side of a phase diagram")
    command.add_argument("--workers", type=int, default=0, help="processes that train; 0: one a core")
    command.add_argument("--force", action="store_true", help="replace a finished run in --out")
    command.set_defaults(run=_reproduce)


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands that draw one result."""
    for name, run, text in (
        ("phase", _phase, "draw a phase diagram that `python -m dynamics phase` saved"),
        ("sweep", _sweep, "draw what the other commands of `python -m dynamics` saved"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("file", help=".npz file")
        command.add_argument("--out", default="", help="stem of the PNG and PDF; default: beside the file")
        command.set_defaults(run=run)
    text = "draw what `python -m sparse_training sharpness` wrote: eigenvalues.csv by epoch, line.csv or spectrum.npz"
    command = commands.add_parser("sharpness", help=text, description=text)
    command.add_argument("files", nargs="+", metavar="FILE", help="one file, or the eigenvalues.csv of several runs")
    command.add_argument("--out", default="", help="stem of the PNG and PDF; default: beside the first file")
    command.set_defaults(run=_sharpness)


if __name__ == "__main__":
    sys.exit(main())
