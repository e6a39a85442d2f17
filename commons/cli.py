"""The command line of every room: argparse whose errors are one line on stderr, and progress bars.

| exit status | when |
|---|---|
| 0 | the command did what it says |
| 2 | a user's mistake: an argument, or a file that is not what it should be |
| 74 | the machine refused (EX_IOERR): no room, no memory, too many open files, no permission |
| 75 | training was stopped by a signal, and the same command goes on from there (EX_TEMPFAIL) |
| 130 | Ctrl-C or SIGINT |
| 141 | whoever read the output stopped reading |

A fault of ours keeps its traceback. All that is printed goes through `commons.text.printable`.
"""

import argparse
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import takewhile
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from commons.checks import InputError, nearest, percentage
from commons.text import one_line, printable

if TYPE_CHECKING:
    from rich.progress import Progress


LINE_SECONDS = 60  # between lines of progress where there is no terminal
_REQUIRED = "the following arguments are required: "  # argparse's words


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, "") else super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names the nearest option and never prints its usage on an error.

    A command sets `run=function` as a default; `execute` calls it with the parsed namespace. What is missing is named
    beside any other mistake, so that one line tells everything that is wrong with the options.
    """

    _words: Sequence[str] = ()  # what this parser was given

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        defaults = {"formatter_class": _Help, "allow_abbrev": False}
        super().__init__(*args, **{**defaults, **kwargs})

    def error(self, message: str) -> NoReturn:
        if message.startswith(_REQUIRED):
            message = f"{message.removeprefix(_REQUIRED)} is missing"
        elif self._missing():
            message = f"{message}; {', '.join(self._missing())} is missing"
        percent = re.search(r"invalid float value: '(.*)'$", message)
        hint = percentage(percent[1]) if percent else ""
        self.fail(f"{message}; {hint}" if hint else message, 2)

    def fail(self, message: str, status: int) -> NoReturn:
        """End with one line on stderr and an exit status."""
        self.exit(status, f"{self.prog}: {one_line(message)}\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of argparse, after options that this parser does not have are refused, with the nearest one."""
        self._words = list(sys.argv[1:] if args is None else args)
        own = self._own_words()
        if not {"-h", "--help"} & set(own):
            for name in (word.split("=")[0] for word in own if _looks_like_option(word)):
                if name not in self._option_string_actions:
                    hint = nearest(name, self._option_string_actions)
                    self.error(f"unknown argument {name}" + (f"; {hint}" if hint else ""))
        return super().parse_known_args(self._words, namespace)

    def _own_words(self) -> list[str]:
        """The words before `--`, and before the command if this parser has commands."""
        commands = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        return list(takewhile(lambda word: word != "--" and (word.startswith("-") or not commands), self._words))

    def _missing(self) -> list[str]:
        """The required options, and groups of which one is required, that were not given."""
        given = {word.split("=")[0] for word in self._own_words()}
        options = [action.option_strings for action in self._actions if action.required and action.option_strings]
        groups = [group._group_actions for group in self._mutually_exclusive_groups if group.required]
        options += [[name for action in group for name in action.option_strings] for group in groups]
        return [" or ".join(names) for names in options if not given & set(names)]

    def execute(self, argv: Sequence[str] | None = None) -> int:
        """Parse argv (sys.argv[1:] by default) and run its command; returns the exit status."""
        with _safe_output():
            args, unknown = self.parse_known_args(argv)
            if unknown:
                self.error(f"unknown argument {unknown[0]}")
            try:
                status = int(args.run(args) or 0)
                sys.stdout.flush()
            except InputError as mistake:
                self.error(str(mistake))
            except KeyboardInterrupt:
                self.fail("interrupted", 130)
            except BrokenPipeError:
                _abandon_output()
                return 141
            except (OSError, MemoryError, RuntimeError) as error:
                told = refusal(error)
                if told is None:
                    raise
                _abandon_output()
                self.fail(told, 74)
            return status


def _looks_like_option(word: str) -> bool:
    """Whether argparse takes a word for an option: it begins with a dash, and is neither a number nor has a space."""
    return re.match(r"-(?!$|\.?\d)\S*$", word) is not None


def refusal(error: Exception) -> str | None:
    """What the machine refused, in one line; None where the error is a fault of ours."""
    text = str(error)
    if isinstance(error, OSError):
        if error.errno is None:
            return None
        return f"{error.filename!r}: {error.strerror}" if error.filename is not None else f"{error.strerror}"
    if isinstance(error, MemoryError) or "can't allocate memory" in text or type(error).__name__ == "OutOfMemoryError":
        return f"not enough memory: {text.splitlines()[0]}" if text else "not enough memory"
    if text == "can't start new thread":
        return "no further thread can be started: too little memory, or too many processes"
    return None


class _Printable:
    """A text stream whose writes go through `printable`; nothing is written where the process has no such stream."""

    def __init__(self, stream: IO[str] | None) -> None:
        self.stream = stream if stream is not None else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115

    def write(self, text: str) -> int:
        self.stream.write(printable(text, getattr(self.stream, "encoding", None) or "utf-8"))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _safe_output() -> Iterator[None]:
    """Within the block stdout and stderr exist and print no control characters, and a warning is one line."""
    out, err = cast("IO[str]", _Printable(sys.stdout)), cast("IO[str]", _Printable(sys.stderr))
    with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: print(f"warning: {one_line(str(message))}", file=sys.stderr)
        yield


def _abandon_output() -> None:
    """Let what stdout still holds go nowhere, so that the interpreter's end does not complain of it again."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def progress() -> "Progress":
    """A rich display on stderr: on a terminal a bar, a count, the rate and the time left, cleared when done.

    Elsewhere it is a line with the same numbers when a minute has passed since the last one.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    def rate(task: Task) -> str:
        return f"{task.speed:.3g}/s" if task.speed else ""

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(rate(task))

    class Shown(Progress):
        """Prints its lines from the calls of `update`, as no thread of its own runs where there is no terminal."""

        _told = time.monotonic()

        def update(self, task_id: Any, **changes: Any) -> None:
            super().update(task_id, **changes)
            if self.console.is_terminal or time.monotonic() - self._told < LINE_SECONDS:
                return
            self._told, task = time.monotonic(), self.tasks[task_id]
            left = "" if task.time_remaining is None else f", {task.time_remaining:.0f} s left"
            total = "" if task.total is None else f"/{task.total:.0f}"
            print(f"{task.description}: {task.completed:.0f}{total} {rate(task)}{left}", file=sys.stderr)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    console = Console(file=getattr(sys.stderr, "stream", sys.stderr))  # the bar moves the cursor by control characters
    return Shown(*columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Within the block, `progress` with one line, called `what`; yields report(done, of), which sets its count."""
    with progress() as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)


def wrote(*files: object, then: Sequence[object] = ()) -> None:
    """Say what a command has written, if anything, and which one looks at it or goes on; then: that one's words."""
    if files:
        print(f"wrote {', '.join(map(str, files))}")
    if then:
        print(f"next  {shlex.join(['python', '-m', *map(str, then)])}")
