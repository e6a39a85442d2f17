"""`train`: begins a run from a preset and options, or goes on with one.

Every setting has a name in TOML and in --set; the options are shorter names for the commonest of them.
"""

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any

from commons.cli import Parser

if TYPE_CHECKING:
    from sparse_training.runs.config import Config
    from sparse_training.runs.trust import Trust

DATA = "a data set by its name or as module:callable, or the folder or text that holds it"
OPTIONS = {
    "model": ("model", "NAME", "mlp, cnn, resnet20, resnet18, resnet50, deit_small, gpt or module:callable"),
    "data": ("data.name or data.root", "NAME|PATH", DATA),
    "density": ("mask.density", "SHARE", "share of the prunable weights to keep, in (0, 1]; 1 is dense"),
    "mask": (
        "mask.score",
        "SCORE[:DISTRIBUTION]",
        "random, magnitude, snip, grasp, synflow, probe, fitting or module:callable",
    ),
    "method": ("method", "NAME", "static, gmp, acdc, str, rigl, set, imp, lrr or module:callable"),
    "reparam": ("reparam", "NAME", "none, sign-in, ham, spred, pilot, unit-speed or module:callable"),
    "epochs": ("epochs", "N", "epochs of training"),
    "device": ("engine.device", "NAME", "cpu, cuda, ..."),
    "seed": ("seed", "N", "determines weights, masks and order"),
}


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("train", help="train a network, or go on with a run", description=__doc__)
    add_settings(parser)
    parser.add_argument("--out", required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--show", action="store_true", help="print the complete configuration and do not train")
    parser.set_defaults(run=run)


def add_settings(parser: Parser) -> None:
    """Add the options from which `configuration` builds one."""
    parser.add_argument("--preset", metavar="NAME", help="digits-mlp, cifar10-resnet20, ... (see presets/)")
    parser.add_argument("--config", metavar="FILE", help="TOML file of settings, over the preset's")
    for option, (path, metavar, text) in OPTIONS.items():
        parser.add_argument(f"--{option}", metavar=metavar, default=argparse.SUPPRESS, help=f"{text} ({path})")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="any setting")
    add_trust(parser)


def add_trust(parser: Parser) -> None:
    """Add the option by which a user lets a configuration file name code."""
    text = "code, as module:callable, that a configuration file may name; `all` for any; may be repeated"
    parser.add_argument("--trust", action="append", default=[], metavar="NAME", help=text)


def trusted(args: argparse.Namespace) -> "Trust":
    """What the option of `add_trust` says."""
    return "all" in args.trust or list(args.trust)


def configuration(args: argparse.Namespace) -> "Config":
    """Preset, then file, then options, then --set."""
    from sparse_training.masks import score_and_distribution
    from sparse_training.runs.config import VARIANTS, Config, read_settings
    from sparse_training.runs.toml import parse_settings
    from sparse_training.runs.trust import code_in

    config = Config.preset(args.preset) if args.preset else Config()
    given = {option: path for option, (path, *_) in OPTIONS.items() if option in args and option != "data"}
    settings = [f"{path}={getattr(args, option)}" for option, path in given.items()]
    if "mask" in args:
        score, distribution = score_and_distribution(args.mask)
        settings += [f"mask.score={score}", *([f'mask.distribution="{distribution}"'] if distribution else [])]
    settings += args.set
    if args.config:
        named_here = code_in(parse_settings(settings), VARIANTS).values()
        trust = trusted(args)
        trust = trust if isinstance(trust, bool) else [*trust, *named_here]
        config = config.with_tree(read_settings(args.config, trust))
    if "data" in args:
        config = config.with_data(args.data)
    return config.with_set(settings)


def run(args: argparse.Namespace) -> int:
    """Train, with a bar of epochs on stderr, and print the last epoch's metrics."""
    from dataclasses import asdict

    from commons.cli import progress, wrote
    from sparse_training.reparam.speeds import nearly_constant, strength
    from sparse_training.runs.history import result_of
    from sparse_training.training.distributed import announced
    from sparse_training.training.loop import PreemptedError, train

    config = configuration(args)
    if args.show:
        print(config.to_toml(), end="")
        return 0
    if "mask" in args and config.mask.density == 1:
        print(f"warning: --mask={args.mask} prunes nothing at density 1; pass --density", file=sys.stderr)
    lines: list[dict[str, Any]] = []
    with progress() as bar:
        task = bar.add_task("train", total=config.epochs * config.method.cycles(config.mask.density))

        def show(metrics: dict[str, Any]) -> None:
            lines.append(metrics)
            description = f"loss {metrics['train_loss']:.3f}, {result_of(metrics)}"
            bar.update(task, completed=metrics["epoch"], description=description)

        try:
            summary = train(config, args.out, progress=show)
        except PreemptedError as stopped:
            print(stopped, file=sys.stderr)
            return os.EX_TEMPFAIL  # 75: not done, and not a mistake, so that what waits for the network does not start
    if announced("RANK", 0):
        return 0  # the first process of torchrun speaks for all
    print(
        f"{args.out}: {summary.epochs} epochs, density {summary.density:.2%}, "
        f"{result_of(asdict(summary))}, test loss {summary.test_loss:.4f}, {summary.seconds:.1f} s"
        + ", ".join(["", *filter(None, [strength(lines)])])
    )
    warning = nearly_constant(lines) if config.reparam is not None else ""
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    wrote(args.out, then=("sparse_training", "signs", args.out))
    return 0
