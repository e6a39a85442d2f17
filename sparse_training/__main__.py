"""`python -m sparse_training COMMAND`: each command is one file of commands/, found by its name.

Heavy imports wait until a command runs, so that help answers at once.
"""

import argparse
import importlib
import pkgutil
import sys

from commons.cli import Parser
from sparse_training import commands


def parser() -> Parser:
    """The parser of all commands, in alphabetical order."""
    top = Parser(prog="python -m sparse_training", description="Sparse training and the measurement of its signs.")
    register(top.add_subparsers(metavar="COMMAND", required=True))
    return top


def register(subparsers: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands of this room, in alphabetical order."""
    for module in pkgutil.iter_modules(commands.__path__):
        importlib.import_module(f"sparse_training.commands.{module.name}").register(subparsers)


if __name__ == "__main__":
    sys.exit(parser().execute())
