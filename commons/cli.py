"""The command line of every room: argparse whose errors are one line on stderr with exit status 2, and progress bars.

It never catches anything but a user's mistake: a fault of ours keeps its traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from commons.checks import InputError, nearest

if TYPE_CHECKING:
    from rich.progress import Progress


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "") else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names the nearest option and never prints its usage on an error.

    A command sets `run=function` as a default; `execute` calls it with the parsed namespace.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        defaults = {"formatter_class": _Help, "allow_abbrev": False}
        super().__init__(*args, **{**defaults, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {' '.join(message.split())}\n")

    def options(self) -> list[str]:
        """Every option string of this parser and of its commands."""
        own = list(self._option_string_actions)
        commands = [a for a in self._actions if isinstance(a, argparse._SubParsersAction)]
        return own + [o for action in commands for parser in action.choices.values() for o in parser.options()]

    def execute(self, argv: Sequence[str] | None = None) -> int:
        """Parse argv (sys.argv[1:] by default) and run its command; returns the exit status."""
        args, unknown = self.parse_known_args(argv)
        if unknown:
            hint = nearest(unknown[0].split("=")[0], self.options())
            self.error(f"unknown argument {unknown[0]}" + (f"; {hint}" if hint else ""))
        try:
            return int(args.run(args) or 0)
        except InputError as mistake:
            self.error(str(mistake))
        except KeyboardInterrupt:
            print(f"{self.prog}: interrupted", file=sys.stderr)
            return 130
        except BrokenPipeError:
            sys.stderr.close()
            return 141


def progress() -> "Progress":
    """A rich progress display on stderr with a bar, a count and the time left, cleared when done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
