"""`python -m sparse_training sweep FILE.toml --out DIR`: the runs of a sweep file, as many at once as there are cores.

The ledger, DIR/ledger.jsonl, has a line for each finished run; what it has is not run again. The same command goes on
after any interruption. `sweep status FILE --out DIR` says how far it is; `sweep table LEDGER` prints means and
paired differences with 95 % intervals, p-values adjusted by Holm, and whether an arm is better than the one that it is
compared with.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from commons.cli import Parser, wrote
from sparse_training.commands.train import DATA, add_trust, trusted

if TYPE_CHECKING:
    from sparse_training.sweeps import Sweep
    from sparse_training.sweeps.executor import Executor

ACTIONS = ("status", "table")
MOST_JOBS = 1000  # in one array of Slurm


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("sweep", help="many runs from one file, and their table", description=__doc__)
    parser.add_argument("words", nargs="+", metavar="[status|table] FILE", help="a sweep file; for table, a ledger")
    runs = parser.add_argument_group("runs")
    runs.add_argument("--out", type=Path, metavar="DIR", help="folder of the runs and of the ledger")
    runs.add_argument("--ledger", type=Path, metavar="FILE", help="ledger elsewhere than in DIR; sweeps may share one")
    runs.add_argument("--data", default="", metavar="NAME|PATH", help=f"{DATA} (data.name or data.root)")
    runs.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="over the file's base"
    )
    runs.add_argument("--plan", action="store_true", help="print the runs and the time they need, and make none")
    runs.add_argument("--keep", choices=("all", "last", "none"), default="all", help="what stays of a run's folder")
    runs.add_argument("--until", metavar="TIME", help="save and stop at 18:30, 2026-12-24T18:30 or after 90m or 2h")
    runs.add_argument(
        "--stop-when",
        choices=("resolved",),
        help="no more seeds for arms whose difference is resolved, by a test that looking at does not spoil",
    )
    where = parser.add_argument_group("where they run")
    where.add_argument("--on", choices=("local", "ray", "slurm"), default="local", help="processes here, or a cluster")
    where.add_argument("--workers", type=int, default=0, help="runs at a time; 0: one a core, or one for 3 with a GPU")
    where.add_argument("--processes", type=int, default=1, help="processes of torchrun for each run")
    where.add_argument("--address", default="", help="of a Ray cluster, such as auto; without it Ray starts one here")
    where.add_argument("--cpus", type=int, default=1, metavar="N", help="cores for each run on a cluster")
    where.add_argument(
        "--gpus", type=float, default=0, metavar="X", help="GPUs for each run on a cluster, or a fraction"
    )
    where.add_argument("--partition", metavar="NAME", help="of Slurm")
    where.add_argument("--minutes", type=int, default=240, metavar="N", help="time limit of a Slurm job")
    where.add_argument("--slurm", nargs="+", default=[], metavar="KEY=VALUE", help="other parameters of submitit")
    add_trust(parser)
    table = parser.add_argument_group("table")
    table.add_argument("--sweep", default="", metavar="NAME", help="which sweep of the ledger, if it has several")
    table.add_argument("--against", metavar="ARM", help="the arm to compare with, instead of the file's")
    table.add_argument("--metric", metavar="NAME", help="the number to compare, instead of the file's")
    table.add_argument("--best", action="store_true", help="the best grid point of each arm, and whether it is an edge")
    table.add_argument("--format", choices=("md", "csv", "latex"), default="md", help="latex needs booktabs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make the runs, or say how far they are, or print the table."""
    from commons.checks import choice

    *actions, file = args.words
    action = choice("sweep", " ".join(actions), ACTIONS) if actions else ""
    if action == "table":
        print(_table(file, args), end="")
        return 0
    sweep = _sweep(file, args)
    if args.plan or action == "status":
        print(_told(sweep), end="")
        return 0
    return _make(sweep, args)


def _sweep(file: str, args: argparse.Namespace) -> "Sweep":
    from commons.checks import InputError, number
    from sparse_training.data.named import named
    from sparse_training.sweeps import Settings, Sweep, load_plan
    from sparse_training.sweeps.stopping import resolved

    if args.out is None:
        raise InputError("--out is missing: the folder of the runs and of the ledger")
    number("processes", args.processes, at_least=1)
    name, root = named(args.data) if args.data else ("", "")
    chosen = [f"data.name={name}", *args.set] if name else args.set
    plan = load_plan(file, chosen, root=root, trust=trusted(args))
    ledger = args.ledger or args.out / "ledger.jsonl"
    threads = 1 if args.processes == 1 else 0
    settings = Settings(args.out, ledger, args.keep, args.processes, threads)
    return Sweep(plan, settings, resolved if args.stop_when else None)


def _table(file: str, args: argparse.Namespace) -> str:
    """The table of a ledger."""
    from commons.checks import InputError
    from sparse_training.sweeps import Ledger
    from sparse_training.sweeps.plan import label
    from sparse_training.sweeps.table import best_rows, compare, formatted, header_of, rows_of

    if not Path(file).is_file():
        raise InputError(f"ledger {file!r} does not exist")
    ledger = Ledger(file)
    header = header_of(ledger, args.sweep)
    header = header | {"metric": args.metric or header["metric"]}
    against = header["against"] if args.against is None else args.against
    comparisons = compare(ledger, header["sweep"], against, header["metric"])
    shown = [(each.arm, each.point) for each in comparisons]
    missing = [label(arm, point) for arm, point, _ in header["treatments"] if (arm, point) not in shown]
    if missing:
        print(f"the ledger has no run of {', '.join(missing)}", file=sys.stderr)
    rows = best_rows(comparisons, header["metric"]) if args.best else rows_of(comparisons, header, against)
    return formatted(rows, args.format)


def _told(sweep: "Sweep") -> str:
    """The arms at their grid points with their runs, and where the sweep stands."""
    from commons.tables import aligned
    from sparse_training.sweeps.progress import clock, standing, unfinished

    finished = sweep.finished()
    rows = []
    for treatment in sweep.plan.treatments:
        own = [job for job in sweep.jobs if (job.arm, job.point) == (treatment.arm, treatment.point)]
        told = {"arm": treatment.label, "runs": len(own), "done": sum(job.address in finished for job in own)}
        rows.append({**told, "epochs": own[0].epochs, "first address": own[0].address})
    now, begun = standing(sweep), unfinished(sweep)
    under_way = f"{aligned(begun)}\n" if begun else ""
    left = "the first epoch will tell" if now.seconds is None else f"{clock(now.seconds)} of one core to go"
    return f"{aligned(rows)}\n{under_way}{now}; {left}\n"


def _make(sweep: "Sweep", args: argparse.Namespace) -> int:
    """Make the runs, with a line on stderr for each that ends, and a bar on a terminal."""
    import os
    import time

    from commons.files import output_directory
    from sparse_training.sweeps.progress import Reporter, moment

    output_directory("out", args.out)
    until = None if args.until is None else moment("until", args.until)
    with _executor(args) as executor, Reporter(executor.slots) as reporter:
        complete = sweep.run(executor, until, reporter)
    for address, reason in sweep.failed.items():
        print(f"run {address} failed: {reason}", file=sys.stderr)
    if not complete:
        over = until is not None and time.time() >= until
        print(f"{'time is over' if over else 'stopped by a signal'}; the same command goes on", file=sys.stderr)
        return 0 if over else os.EX_TEMPFAIL
    wrote(sweep.ledger.path, then=("sparse_training", "sweep", "table", sweep.ledger.path))
    return 1 if sweep.failed else 0


def _executor(args: argparse.Namespace) -> "Executor":
    """Where the runs are made."""
    from sparse_training.sweeps.local import Local, usual_workers

    workers = args.workers or usual_workers(args.processes)
    if args.on == "ray":
        from sparse_training.sweeps.ray import Ray

        return Ray(workers, args.address, args.cpus, args.gpus)
    if args.on == "slurm":
        from sparse_training.sweeps.slurm import Slurm

        return Slurm(args.workers or MOST_JOBS, args.out / "slurm", _slurm_parameters(args))
    return Local(workers)


def _slurm_parameters(args: argparse.Namespace) -> dict[str, object]:
    """Parameters of submitit, from the options that have names of their own and from --slurm."""
    from sparse_training.runs.toml import parse_settings

    found: dict[str, object] = {"timeout_min": args.minutes, "cpus_per_task": args.cpus}
    found |= {"slurm_partition": args.partition} if args.partition else {}
    found |= {"gpus_per_node": int(args.gpus)} if args.gpus else {}
    return found | parse_settings(args.slurm)
