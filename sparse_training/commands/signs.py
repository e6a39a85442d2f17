"""`signs RUN`: print flips, zeros, settling and agreement of a run by layer, and write them as CSV."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser

if TYPE_CHECKING:
    from sparse_training.signs import FlipTable


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "signs",
        help="sign flips and agreement of a run, by layer and epoch",
        description="Counts are over active weights, active at both ends where two epochs are compared; a weight at "
        "exactly zero neither flips nor agrees, and it flips when it comes out on the other side. Layers are "
        "listed from input to output.",
    )
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder of the run")
    parser.add_argument("--against", type=Path, help="another run, whose last signs each epoch is compared with")
    parser.add_argument("--settled", type=float, default=1.0, help="percent of weights that may still flip")
    parser.add_argument("--kinds", action="store_true", help="one line a kind of layer: q, k, v, o, up, down, ...")
    parser.add_argument("--out", type=Path, help="CSV file of all layers and epochs (default: RUN/signs.csv)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line a layer, and write every layer and epoch as CSV."""
    from commons.checks import number
    from commons.files import output_directory, write_csv
    from commons.tables import aligned
    from sparse_training.signs import flip_table, history_of

    number("settled", args.settled, above=0, at_most=100)
    history = history_of(args.folder)
    if args.against is None:
        table = flip_table(history)
    else:
        other = history_of(args.against)
        table = flip_table(history, other.signs(other.epochs[-1]), other.masks(other.epochs[-1]))
    out = args.out or args.folder / "signs.csv"
    output_directory("out", out.parent)
    groups = table.kinds() if args.kinds else {name: [name] for name in table.flips}
    kinds = [row for name, layers in groups.items() for row in table.summed(name, layers)] if args.kinds else []
    write_csv(out, [row.row() for row in (*table.rows, *kinds, *table.totals())])
    print(aligned(by_group(table, groups, args.settled)), end="")
    print(f"epochs {table.epochs[0]} to {table.epochs[-1]}; every layer and epoch: {out}")


def by_group(table: "FlipTable", groups: Mapping[str, list[str]], settled: float) -> list[dict[str, Any]]:
    """Return one row a group of layers and one for all: shares in percent at the last epoch, flips over the whole run.

    groups: layers by the name of their row. settled: percentage of the finally active weights that may still flip after
    the settling epoch.
    """
    rows = []
    for name, layers in (*groups.items(), ("total", list(table.flips))):
        *_, last = every = table.summed(name, layers)
        shares = last.row()
        row = {
            "layer": name,
            "weights": last.weights,
            "active": last.active,
            "zero %": _percent(shares["share_zero"]),
            "since init %": _percent(shares["since_init"]),
            "last epoch %": _percent(shares["since_previous"]),
            "flips": last.cumulative,
            "surviving %": _percent(sum(r.surviving for r in every) / last.cumulative if last.cumulative else None),
            f"settled ({settled:g} %)": table.settling(settled / 100, layers),
        }
        if last.reference is not None:
            row["agreement %"] = _percent(shares["agreement"])
        rows.append(row)
    return rows


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
