"""`python -m sparse_training ablate NAME`: train the variants of an ablation over seeds and write them as a table.

Runs that are finished are not trained again.
"""

import argparse
import os
from pathlib import Path

from commons.cli import Parser, wrote
from sparse_training.commands.train import OPTIONS, add_settings, configuration


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("ablate", help="one of the paper's ablations over seeds", description=__doc__)
    parser.add_argument(
        "name",
        metavar="NAME",
        help="scratch, reset, period, beta, density, initialization, mechanism, or module:callable",
    )
    add_settings(parser)
    parser.set_defaults(preset="digits-mlp")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 on")
    parser.add_argument("--workers", type=int, default=0, help="processes, 0: one a core")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of ablation-NAME.csv and .md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, print the table and write it; returns the exit status."""
    import shlex
    import sys

    from commons.checks import number
    from commons.cli import progress
    from commons.files import output_directory, output_file, write_csv, write_text
    from commons.tables import aligned
    from commons.text import slug
    from sparse_training.ablation import ABLATIONS, ablate, sweep_of, train_variants
    from sparse_training.training.loop import PreemptedError
    from sparse_training.tuning import SEEDS, tuned

    variants = ABLATIONS.find("ablation", args.name)()
    number("seeds", args.seeds, at_least=1, at_most=10_000)
    config = configuration(args)
    config = config.with_set([f"checkpoint.every={config.epochs}"])
    runs, name = output_directory("runs", args.runs), slug(args.name)
    tables = [output_file("out", args.out / f"ablation-{name}.{suffix}") for suffix in ("csv", "md")]
    with progress() as bar:
        task = bar.add_task(args.name, total=None)
        try:
            variants = tuned(
                variants,
                config,
                runs,
                args.workers,
                lambda done, total: bar.update(task, description="tuning", completed=done, total=total),
            )
            sweep = sweep_of(variants, config, range(args.seeds), runs)
            train_variants(
                sweep,
                workers=args.workers,
                may_diverge=any(variant.grid for variant in variants),
                progress=lambda done, total: bar.update(task, description=args.name, completed=done, total=total),
            )
        except PreemptedError as stopped:
            print(stopped, file=sys.stderr)
            return os.EX_TEMPFAIL
    rows = ablate(variants, sweep)
    table = aligned(rows)
    chosen = [*(["--preset", args.preset] if args.preset else []), "--seeds", str(args.seeds)]
    chosen += [word for option in OPTIONS if option in args for word in (f"--{option}", str(getattr(args, option)))]
    chosen += ["--set", *args.set] if args.set else []
    command = f"python -m sparse_training ablate {args.name} {shlex.join(chosen)}"
    write_csv(tables[0], rows)
    note = f"{config.model} on {config.data.name}, {config.epochs} epochs; test accuracy and differences with 95 % "
    note += "intervals, differences paired by seed. Better: a difference in favour of the variant, with p < 0.05."
    if any(variant.grid for variant in variants):
        note += f" Each learning rate is the best of a grid by factors of 2 on seeds {SEEDS[0]} to {SEEDS[-1]}."
    write_text(tables[1], f"# Ablation: {args.name}\n\n`{command}`\n\n{note}\n\n{table}")
    print(table, end="")
    wrote(*tables)
    return 0
