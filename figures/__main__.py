"""`python -m figures`: reproduce everything, or draw one result file. Heavy imports wait for the command."""

import argparse
import inspect
import sys
from pathlib import Path

from commons.checks import refuse
from commons.cli import Parser, wrote
from commons.files import output_directory, write_csv
from figures.drawing import FIGURES
from figures.stored import STORED

SUFFIXES = (".png", ".pdf", ".svg", ".csv")


def _reproduce(args: argparse.Namespace) -> None:
    from figures.reproduce import Settings, reproduce

    settings = Settings(args.device, args.seeds, args.grid, args.bench)
    reproduce(Path(args.out), settings, results=Path(args.results), force=args.force, workers=args.workers)


def _explore(args: argparse.Namespace) -> None:
    from figures.explorer import write_explorer

    write_explorer(Path(args.out), None if args.run_folder is None else Path(args.run_folder))
    wrote(f"{args.out}, a page for any browser")


def _draw(args: argparse.Namespace) -> None:
    from figures.drawn import drawn_data
    from figures.style import paper_style, save_figure

    stored = STORED.get(args.figure)
    files = [Path(file) for file in args.files]
    if stored is not None and not files:
        files = stored.found(Path(args.results))
        stem = Path(args.out or args.figure)
    else:
        stem = Path(args.out or files[0])
    if not stem.name:
        refuse("--out" if args.out else "FILE", args.out or args.files[0], "the name of a file")
    stem = stem.with_suffix("") if stem.suffix in (SUFFIXES if args.out else [files[0].suffix]) else stem
    output_directory("--out", stem.parent)
    draw = stored.draw if stored is not None else FIGURES.find("figure", args.figure)
    with paper_style(args.column):
        figure = draw(files)
        data = stem.with_name(f"{stem.name}-drawn.csv")
        paths = save_figure(figure, stem)
        write_csv(data, drawn_data(figure))
    wrote(*paths, data)


def _list(_: argparse.Namespace) -> None:
    from commons.tables import aligned

    rows = [
        {"figure": name, "shows": stored.text, "reads": stored.files[0] + " …" * (len(stored.files) > 1)}
        for name, stored in STORED.items()
    ]
    kinds = [{"figure": name, "shows": _first_line(draw), "reads": "FILE"} for name, draw in FIGURES.items()]
    print(aligned([*rows, *kinds]), end="")


def _first_line(draw: object) -> str:
    return (inspect.getdoc(draw) or "").split("\n")[0]


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
    kept = "folder of kept results, whose ledger of language models the report holds against the claims"
    command.add_argument("--results", default="results", help=f"{kept} (default: %(default)s)")
    command.add_argument("--force", action="store_true", help="replace a finished run in --out")
    command.set_defaults(run=_reproduce)


def register_explorer(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add `explorer`."""
    text = "write a page for the browser on which every flow of the single neuron is dragged and compared"
    command = commands.add_parser("explorer", help=text, description=text)
    help_of_run = "folder of a run, whose signs become a second tab"
    command.add_argument("run_folder", nargs="?", metavar="RUN", help=help_of_run)
    command.add_argument("--out", default="explorer.html", help="file to write")
    command.set_defaults(run=_explore)


def register(commands: "argparse._SubParsersAction[Parser]", asked: str = "") -> None:
    """Add `list` and the commands that draw: those of `FIGURES` and `STORED`, and one asked for as module:callable."""
    text = "name every figure, what it shows and what it reads"
    commands.add_parser("list", help=text, description=text).set_defaults(run=_list)
    entries = {name: _first_line(draw) for name, draw in FIGURES.items()}
    if ":" in asked:
        entries[asked] = "A figure of your own."
    for name, reads in {**entries, **{name: stored.text for name, stored in STORED.items()}}.items():
        text = f"draw: {reads}"
        command = commands.add_parser(name, help=text, description=text)
        kept = name in STORED
        command.add_argument("files", nargs="*" if kept else "+", metavar="FILE")
        place = "in the current folder" if kept else "beside the first file"
        command.add_argument("--out", default="", help=f"stem of the PNG, PDF, SVG and CSV; default: {place}")
        text = "width of a journal's column: 85 mm or 178 mm; default: what the figure needs"
        command.add_argument("--column", choices=("single", "double"), default="", help=text)
        if kept:
            command.add_argument("--results", default="results", help="folder that has the figure's files")
        command.set_defaults(run=_draw, figure=name)


if __name__ == "__main__":
    sys.exit(main())
