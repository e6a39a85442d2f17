"""`python -m sparse_training problem NAME`: a task on which signs decide, every arm beside plain; `list` names all."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser

if TYPE_CHECKING:
    from sparse_training.problems import Problem


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "problem",
        help="tasks on which signs decide, from exact neurons on",
        description="Tunes the learning rate of every arm on seeds that are not reported, runs it on held-out seeds "
        "and prints the tables. Settings of a problem are given as --set NAME=VALUE; `problem list` names them.",
    )
    parser.add_argument("name", metavar="NAME", help="a problem, or list")
    parser.add_argument("--seeds", type=int, help="held-out seeds, from 0 on (default: the problem's own)")
    parser.add_argument("--tuning-seeds", type=int, help="seeds that tune the learning rates (default: the problem's)")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the problem")
    parser.add_argument("--arms", nargs="+", default=[], metavar="LABEL", help="only plain and these arms")
    parser.add_argument("--workers", type=int, default=1, help="processes; 0 is one a core")
    parser.add_argument("--out", type=Path, help="folder for problem-NAME.md, .csv and .json (default: none)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure, print the tables and write them."""
    import shlex

    from commons.cli import counting, wrote
    from commons.tables import aligned
    from sparse_training.problems import PROBLEMS, measure, report, write_report

    if args.name == "list":
        print(aligned([row for name in PROBLEMS for row in _settings(name)]), end="")
        return
    problem = _with_settings(args.name, args.set)
    seeds = problem.default_seeds if args.seeds is None else args.seeds
    tuning = problem.default_tuning_seeds if args.tuning_seeds is None else args.tuning_seeds
    with counting(args.name) as count:
        measured = measure(
            problem,
            seeds,
            tuning,
            only=args.arms,
            workers=args.workers,
            progress=count,
        )
    chosen = f" --set {' '.join(args.set)}" if args.set else ""
    arms = f" --arms {shlex.join(args.arms)}" if args.arms else ""
    command = f"python -m sparse_training problem {args.name} --seeds {seeds} --tuning-seeds {tuning}{chosen}{arms}"
    if args.out is None:
        print(report(problem, measured, command), end="")
    else:
        print(write_report(problem, measured, command, args.out), end="")
        wrote(args.out)


def _settings(name: str) -> list[dict[str, str]]:
    """The settings of a problem with their defaults, one a row."""
    from dataclasses import fields

    from sparse_training.problems import PROBLEMS

    return [{"problem": name, "setting": f.name, "default": str(f.default)} for f in fields(PROBLEMS[name])]


def _with_settings(name: str, settings: list[str]) -> "Problem":
    """The problem with NAME=VALUE settings, each of the type of its default."""
    from dataclasses import fields

    from commons.checks import choice, refuse
    from sparse_training.problems import PROBLEMS

    kind = PROBLEMS.find("problem", name)
    known: dict[str, Any] = {field.name: field.default for field in fields(kind)}
    chosen: dict[str, Any] = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            refuse("set", text, "NAME=VALUE")
        default = known[choice("set", key, known)]
        try:
            chosen[key] = type(default)(value)
        except ValueError:
            refuse(key, value, f"a value like {default!r}")
    return kind(**chosen)
