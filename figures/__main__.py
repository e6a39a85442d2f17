"""`python -m figures`: reproduce everything, or draw one result file. Heavy imports wait for the command."""

import argparse
import inspect
import sys
from pathlib import Path

from commons.checks import refuse
from commons.cli import Parser
from commons.files import output_directory
from figures.drawing import FIGURES


def _reproduce(args: argparse.Namespace) -> None:
    from figures.reproduce import Settings, reproduce

    settings = Settings(args.device, args.seeds, args.grid, args.bench)
    reproduce(Path(args.out), settings, force=args.force, workers=args.workers)


def _explore(args: argparse.Namespace) -> None:
    from figures.explorer import write_explorer

    write_explorer(Path(args.out))
    print(f"explorer: {args.out}, a page for any browser")


def _draw(args: argparse.Namespace) -> None:
    from figures.style import paper_style, save_figure

    files = [Path(file) for file in args.files]
    stem = Path(args.out or files[0])
    if not stem.name:
        refuse("--out" if args.out else "FILE", args.out or args.files[0], "the name of a file")
    stem = stem.with_suffix("") if not args.out or stem.suffix in (".png", ".pdf", ".svg") else stem
    output_directory("--out", stem.parent)
    with paper_style():
        for path in save_figure(FIGURES.find("figure", args.figure)(files), stem):
            print(path)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    words = sys.argv[1:] if argv is None else argv
    parser = Parser(prog="python -m figures", description="Figures, tables and the report on the paper's claims.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    register_reproduce(commands)
    register_explorer(commands)
    register(commands, words[0] if words else "")
    return parser.execute(argv)


def register_reproduce(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `reproduce`."""
    text = "prove, integrate, train on digits, and write figures, tables and report.html"
    command = commands.add_parser("reproduce", help=text, description=text)
    command.add_argument("--out", required=True, help="folder; an interrupted run in it is taken up")
    command.add_argument("--device", default="cpu", help="cpu or cuda")
    command.add_argument("--seeds", type=int, default=5, help="seeds of each network, at least 3")
    command.add_argument("--grid", type=int, default=256, help="starts along each side of a phase diagram")
    command.add_argument("--bench", type=float, default=1.0, help="share of the problems' 512, 64 and 32 seeds to run")
    command.add_argument("--workers", type=int, default=0, help="processes that train; 0: one a core")
    command.add_argument("--force", action="store_true", help="replace a finished run in --out")
    command.set_defaults(run=_reproduce)


def register_explorer(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `explorer`."""
    text = "write a page for the browser on which every flow of the single neuron is dragged and compared"
    command = commands.add_parser("explorer", help=text, description=text)
    command.add_argument("--out", default="explorer.html", help="file to write")
    command.set_defaults(run=_explore)


def register(commands: "argparse._SubParsersAction[Parser]", asked: str = "") -> None:
    """Add the commands that draw one result: those of `FIGURES`, and the one asked for if it is a module:callable."""
    entries = {name: (inspect.getdoc(draw) or "").split("\n")[0] for name, draw in FIGURES.items()}
    if ":" in asked:
        entries[asked] = "A figure of your own."
    for name, reads in entries.items():
        text = f"draw: {reads}"
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("files", nargs="+", metavar="FILE")
        command.add_argument("--out", default="", help="stem of the PNG, PDF and SVG; default: beside the first file")
        command.set_defaults(run=_draw, figure=name)


if __name__ == "__main__":
    sys.exit(main())
