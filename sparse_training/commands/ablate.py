"""`python -m sparse_training ablate NAME`: one of the paper's ablations over seeds, as a table and as CSV.

Runs that are finished are not trained again.
"""

import argparse
from pathlib import Path

from commons.cli import Parser
from sparse_training.commands.train import OPTIONS, add_settings, configuration


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("ablate", help="one of the paper's ablations over seeds", description=__doc__)
    parser.add_argument("name", metavar="NAME", help="reset, period, beta, density or initialization")
    add_settings(parser)
    parser.set_defaults(preset="digits-mlp")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 on")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one a core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of ablation-NAME.csv and .md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Train, print the table and write it."""
    import shlex
    import sys

    from commons.cli import progress
    from commons.files import output_directory, write_csv, write_text
    from commons.tables import aligned
    from sparse_training.ablation import ablate

    config = configuration(args).with_set([f"checkpoint.every={configuration(args).epochs}"])
    out = output_directory("out", args.out)
    bar = progress()
    bar.disable = not sys.stderr.isatty()
    with bar:
        task = bar.add_task(args.name, total=None)
        rows = ablate(
            args.name,
            config,
            range(args.seeds),
            args.runs,
            workers=args.workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    table = aligned(rows)
    chosen = [*(["--preset", args.preset] if args.preset else []), "--seeds", str(args.seeds)]
    chosen += [word for option in OPTIONS if option in args for word in (f"--{option}", str(getattr(args, option)))]
    chosen += ["--set", *args.set] if args.set else []
    command = f"python -m sparse_training ablate {args.name} {shlex.join(chosen)}"
    write_csv(out / f"ablation-{args.name}.csv", rows)
    note = f"{config.model} on {config.data.name}, {config.epochs} epochs; test accuracy and differences with 95 % "
    note += "intervals, differences paired by seed."
    write_text(out / f"ablation-{args.name}.md", f"# Ablation: {args.name}\n\n`{command}`\n\n{note}\n\n{table}")
    print(table, end="")
