"""`sample RUN`: prints text that the transformer of a run writes on from a beginning, and keeps it with --out.

The file, JSON, holds the text, what wrote it, and the bits per byte that it gives held-out text.
"""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commons.cli import Parser
from sparse_training.commands.train import add_trust, trusted

if TYPE_CHECKING:
    from sparse_training.runs.run import Run


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("sample", help="text that a run's transformer writes", description=__doc__)
    parser.add_argument("folder", metavar="RUN", help="folder of a run on text, read as bytes")
    parser.add_argument("--prompt", default="def ", help="what the text begins with (default: %(default)r)")
    parser.add_argument("--bytes", type=int, default=300, metavar="N", help="length of what is written (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest byte (%(default)s)")
    parser.add_argument("--epoch", type=int, default=-1, help="of the saved network; -1 is the last one")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON file with the text and the bits per byte")
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the prompt and what follows it; bytes that are no text are shown as \ufffd."""
    import torch

    from commons.checks import refuse
    from commons.cli import wrote
    from commons.files import output_file, write_json
    from sparse_training.models import GPT
    from sparse_training.models.sampling import continued
    from sparse_training.runs.run import Run

    run = Run(args.folder, trusted(args))
    model = run.model(args.epoch)
    if not isinstance(model, GPT) or model.head.out_features != 256:
        refuse("run", args.folder, "a run of a transformer on bytes, such as preset=text-gpt")
    start = torch.tensor(list(args.prompt.encode() or b"\n"))
    context = run.config.data.context or 128
    tokens = continued(model, start, args.bytes, context=context, temperature=args.temperature, seed=args.seed)
    text = bytes(tokens.tolist()).decode(errors="replace")
    print(text)
    if args.out is not None:
        write_json(output_file("out", args.out), {**_told(run, args), "text": text})
        wrote(args.out)
    return 0


def _told(run: "Run", args: argparse.Namespace) -> dict[str, Any]:
    """What wrote the text: the command without places on this machine, the network, its metrics at that epoch."""
    epoch, config = run.epochs[args.epoch] if args.epoch < 0 else args.epoch, run.config
    lines = {line["epoch"]: line for line in run.metrics()}
    words = ("--prompt", args.prompt, "--bytes", args.bytes, "--temperature", args.temperature, "--epoch", epoch)
    command = ["python", "-m", "sparse_training", "sample", "RUN", *map(str, words), "--seed", str(args.seed)]
    parts = [part.name for part in (config.method, config.reparam, config.scaling) if part and part.name != "static"]
    network = ", ".join(["dense" if config.mask.density == 1 else f"density {config.mask.density:g}", *parts])
    told = {
        "command": shlex.join(command),
        "network": f"{network}, epoch {epoch} of {config.epochs}, seed {config.seed}",
    }
    return told | {"bits_per_byte": lines[epoch]["bits_per_byte"] if epoch in lines else None}
