"""`signs`: print flips, zeros and agreement of a run, or of two checkpoints, by layer, and write them as CSV."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser, wrote

if TYPE_CHECKING:
    from torch import Tensor

    from sparse_training.masks import Masks
    from sparse_training.signs import FlipTable


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "signs",
        help="sign flips and agreement of a run, by layer and epoch, or of two checkpoints",
        description="With the folder of a run: its signs by layer and epoch. With two checkpoints, .safetensors or of "
        "torch.save: the signs of one against the other, by layer. Counts are over active weights, active at both ends "
        "where two epochs or checkpoints are compared; a weight at exactly zero neither flips nor agrees, and it flips "
        "when it comes out on the other side. Layers are listed from input to output.",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", type=Path, help="folder of the run, or two checkpoints")
    parser.add_argument(
        "--model",
        help="network of the checkpoints, a name or module:callable, whose prunable weights are compared (default: "
        "everything of two or more dimensions)",
    )
    parser.add_argument("--masks", type=Path, help="file of the weights that count (default: masks in the checkpoints)")
    parser.add_argument("--against", type=Path, help="another run, whose last signs each epoch is compared with")
    parser.add_argument("--settled", type=float, default=1.0, help="percent of weights that may still flip")
    parser.add_argument("--kinds", action="store_true", help="one line a kind of layer: q, k, v, o, up, down, ...")
    parser.add_argument("--out", type=Path, help="CSV file of all layers (and epochs; default: RUN/signs.csv)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line a layer, and write every layer and epoch as CSV."""
    from commons.checks import refuse
    from commons.files import output_directory, write_csv
    from commons.tables import aligned

    if len(args.paths) > 2:
        refuse("paths", len(args.paths), "the folder of one run, or two checkpoints")
    if len(args.paths) == 1:
        _of_run(args)
        return
    if args.against is not None:
        refuse("against", str(args.against), "for two checkpoints, which are compared with each other")
    if args.out is not None:
        output_directory("out", args.out.parent)
    rows = _of_checkpoints(args)
    print(aligned(rows), end="")
    if args.out is not None:
        write_csv(args.out, rows)
        wrote(args.out)


def _of_run(args: argparse.Namespace) -> None:
    from commons.checks import number
    from commons.files import output_directory, write_csv
    from commons.tables import aligned
    from sparse_training.signs import flip_table, history_of

    number("settled", args.settled, above=0, at_most=100)
    (folder,) = args.paths
    history = history_of(folder)
    if args.against is None:
        table = flip_table(history)
    else:
        other = history_of(args.against)
        table = flip_table(history, other.signs(other.epochs[-1]), other.masks(other.epochs[-1]))
    out = args.out or folder / "signs.csv"
    output_directory("out", out.parent)
    groups = table.kinds() if args.kinds else {name: [name] for name in table.flips}
    kinds = [row for name, layers in groups.items() for row in table.summed(name, layers)] if args.kinds else []
    write_csv(out, [row.row() for row in (*table.rows, *kinds, *table.totals())])
    print(aligned(by_group(table, groups, args.settled)), end="")
    print(f"epochs {table.epochs[0]} to {table.epochs[-1]}")
    wrote(out, then=("figures", "signs", out))


def _of_checkpoints(args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a layer and one for all together: shares in percent of the weights that are active in both networks."""
    from commons.checks import nearest, refuse
    from sparse_training.masks import Masks
    from sparse_training.signs import flips_by_layer
    from sparse_training.signs.compare import total

    weights, masks = zip(*(_checkpoint(path, args.model) for path in args.paths), strict=True)
    if args.masks is not None:
        masks = (Masks.load(args.masks),) * 2
        foreign = next((name for name in masks[0] if name not in weights[0]), None)
        if foreign is not None:
            refuse("masks", foreign, "a weight that is compared", nearest(foreign, weights[0]))
    counts = flips_by_layer(*weights, *map(_whole, masks, weights))
    return [
        {
            "layer": layer,
            "active": count.active,
            "same %": _percent(count.same / count.active if count.active else None),
            "flipped %": _percent(count.flipped / count.active if count.active else None),
            "zero %": _percent(count.zero / count.active if count.active else None),
        }
        for layer, count in (*counts.items(), ("total", total(counts.values())))
    ]


def _checkpoint(path: Path, model: str | None) -> "tuple[dict[str, Tensor], Masks | None]":
    """The weights of a checkpoint that are compared, and its masks if it has some."""
    from sparse_training import models
    from sparse_training.masks import prunable
    from sparse_training.runs.states import load_into, read_network

    if model is None:
        network = read_network(path)
        return {n: w for n, w in network.state.items() if w.ndim > 1 and w.is_floating_point()}, network.masks
    built = models.build(model)
    masks = load_into(built, path).masks
    return {name: weight.detach() for name, weight in prunable(built).items()}, masks


def _whole(masks: "Masks | None", weights: "dict[str, Tensor]") -> "dict[str, Tensor] | None":
    """Masks of all the weights; those that have none are active."""
    import torch

    if masks is None:
        return None
    return {name: masks.get(name, torch.ones_like(weight, dtype=torch.bool)) for name, weight in weights.items()}


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
