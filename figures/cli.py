"""The console command `sign-in`: what `python -m` does with the rooms, in one place.

What computes is a command of its own: `sign-in theory`, `sign-in phase` and the other commands of dynamics, `sign-in
train` and the other commands of sparse_training. What draws is under `sign-in figures`: `sign-in sharpness RUN`
measures, and `sign-in figures sharpness FILE` draws what it wrote. `sign-in reproduce` does everything.
"""

import sys
from collections.abc import Sequence

from commons.cli import Parser
from commons.version import PACKAGE, __version__


def parser(figure: str = "") -> Parser:
    """The parser of all commands; nothing heavy is imported for it. figure: module:callable that is to draw."""
    import dynamics.__main__ as dynamics
    import figures.__main__ as figures
    import sparse_training.__main__ as sparse_training
    import theory.__main__ as theory

    top = Parser(prog="sign-in", description="Parameter signs in sparse training: theory, flows, networks and figures.")
    top.add_argument("--version", action="version", version=f"{PACKAGE} {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    theory.add_options(commands.add_parser("theory", help=theory.TEXT, description=theory.TEXT))
    dynamics.register(commands)
    sparse_training.register(commands)
    drawing = commands.add_parser("figures", help="draw a result file", description="Draw a result file.")
    pictures = drawing.add_subparsers(metavar="COMMAND", required=True)
    figures.register_explorer(pictures)
    figures.register(pictures, figure)
    figures.register_reproduce(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    words = [*(sys.argv[1:] if argv is None else argv), ""]
    return parser(words[1] if words[0] == "figures" else "").execute(argv)


if __name__ == "__main__":
    sys.exit(main())
