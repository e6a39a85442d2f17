"""`python -m figures`: reproduce everything, or draw one result file. Heavy imports wait for the command."""

import argparse
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commons.checks import number, refuse
from commons.cli import Parser, wrote
from commons.files import output_directory, write_csv
from figures.drawing import FIGURES
from figures.stored import STORED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THEOREMS_TEXT = "All theorems over all sign quadrants, or one of them, for β's of your own."
TABLES = (".csv", ".md", ".tex")
SUFFIXES = (".png", ".pdf", ".svg", ".csv")


def _reproduce(args: argparse.Namespace) -> int:
    from figures.reproduce import Settings, reproduce
    from sparse_training.training.loop import PreemptedError

    settings = Settings(args.device, args.seeds, args.grid, args.bench)
    try:
        reproduce(Path(args.out), settings, results=Path(args.results), force=args.force, workers=args.workers)
    except PreemptedError as stopped:
        print(stopped, file=sys.stderr)
        return os.EX_TEMPFAIL
    return 0


def _explore(args: argparse.Namespace) -> None:
    from figures.explorer import write_explorer

    write_explorer(Path(args.out), None if args.run_folder is None else Path(args.run_folder))
    wrote(f"{args.out}, a page for any browser")


def _show(args: argparse.Namespace) -> None:
    from figures.theorems import flows_of, panel

    grid = int(number("grid", args.grid, at_least=2, integer=True))
    chosen = flows_of(args.theorem, args.beta_a, args.beta_w, args.p)
    default = f"theorem-{args.theorem}" if args.theorem else "theorems"
    _save(args, Path(args.out or default), lambda: panel(chosen, grid, args.extent), SUFFIXES if args.out else ())


def _draw(args: argparse.Namespace) -> None:
    stored = STORED.get(args.figure)
    files = [Path(file) for file in args.files]
    if stored is not None and not files:
        files = stored.found(Path(args.results))
        stem = Path(args.out or args.figure)
    else:
        stem = Path(args.out or files[0])
    draw = stored.draw if stored is not None else FIGURES.find("figure", args.figure)
    _save(args, stem, lambda: draw(files), SUFFIXES if args.out else [files[0].suffix])


def _save(args: argparse.Namespace, stem: Path, draw: "Callable[[], Figure]", suffixes: Sequence[str]) -> None:
    """Write what is drawn, in three formats and as CSV, to a stem that may end in one of the suffixes."""
    from figures.drawn import drawn_data
    from figures.style import paper_style, save_figure

    if not stem.name:
        refuse("--out" if args.out else "FILE", args.out or args.files[0], "the name of a file")
    stem = stem.with_suffix("") if stem.suffix in suffixes else stem
    output_directory("--out", stem.parent)
    with paper_style(args.column):
        figure = draw()
        data = stem.with_name(f"{stem.name}-drawn.csv")
        paths = save_figure(figure, stem)
        write_csv(data, drawn_data(figure))
    wrote(*paths, data)


def _tabulate(args: argparse.Namespace) -> None:
    from commons.tables import aligned
    from figures.beside import beside_published
    from figures.tables import write_table

    ledger = Path(args.ledger)
    stem = Path(args.out) if args.out else ledger.with_name(f"{ledger.stem}-table")
    if not stem.name:
        refuse("--out", args.out, "the name of a file")
    stem = stem.with_suffix("") if stem.suffix in TABLES else stem
    rows = beside_published(ledger, args.sweep, args.published)
    if not rows:
        refuse("ledger", args.ledger, "one with a finished run")
    output_directory("--out", stem.parent)
    write_table(rows, stem)
    print(aligned(rows), end="")
    wrote(*(stem.with_name(f"{stem.name}{suffix}") for suffix in TABLES), then=("figures", "sweep", ledger))


def _list(_: argparse.Namespace) -> None:
    from commons.tables import aligned

    rows = [{"figure": "theorems", "shows": THEOREMS_TEXT, "reads": "–"}]
    rows += [
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
    text = "a sweep's accuracies beside the published ones, as CSV, Markdown and LaTeX (package booktabs)"
    table = commands.add_parser("table", help=text, description=text[0].upper() + text[1:] + ".")
    table.add_argument("ledger", metavar="LEDGER", help="ledger.jsonl of a sweep")
    table.add_argument("--sweep", default="", metavar="NAME", help="which one of the ledger, if it has several")
    beside = (
        "such as 'CIFAR-10, ResNet-20': published numbers to set beside; default: those of the runs' data and model"
    )
    table.add_argument("--published", default="", metavar="SETTING", help=beside)
    table.add_argument("--out", default="", help="stem of the files; default: LEDGER-table beside the ledger")
    table.set_defaults(run=_tabulate)
    theorems = commands.add_parser("theorems", help=f"draw: {THEOREMS_TEXT}", description=THEOREMS_TEXT)
    theorems.add_argument("theorem", nargs="?", default="", metavar="NAME", help="5.1, 5.2 or 5.4; default: all")
    theorems.add_argument("--beta-a", type=float, default=1.0, help="of the outer weight a; the paper's β₁")
    theorems.add_argument("--beta-w", type=float, default=0.25, help="of the inner weight w; the paper's β₂")
    theorems.add_argument("--p", type=float, default=0.5, help="of w = sign(u)|u|^p, which 5.4 is shown beside")
    theorems.add_argument("--grid", type=int, default=256, help="starts along each axis")
    theorems.add_argument("--extent", type=float, default=2.0, help="starts lie in [-extent, extent]^2")
    place = "theorems or theorem-NAME in the current folder"
    theorems.add_argument("--out", default="", help=f"stem of the PNG, PDF, SVG and CSV; default: {place}")
    _add_column(theorems)
    theorems.set_defaults(run=_show)
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
        _add_column(command)
        if kept:
            command.add_argument("--results", default="results", help="folder that has the figure's files")
        command.set_defaults(run=_draw, figure=name)


def _add_column(command: Parser) -> None:
    text = "width of a journal's column: 85 mm or 178 mm; default: what the figure needs"
    command.add_argument("--column", choices=("single", "double"), default="", help=text)


if __name__ == "__main__":
    sys.exit(main())
