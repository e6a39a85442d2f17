"""`python -m sparse_training COMMAND`: each command is one file of commands/, found by its name.

It imports nothing heavy, so that help answers at once.
"""

import importlib
import pkgutil
import sys

from commons.cli import Parser
from sparse_training import commands


def parser() -> Parser:
    """The parser of all commands, in alphabetical order."""
    top = Parser(prog="python -m sparse_training", description="Sparse training and the measurement of its signs.")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"sparse_training.commands.{module.name}").register(subparsers)
    return top


if __name__ == "__main__":
    sys.exit(parser().execute())
