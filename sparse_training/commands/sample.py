"""`sample RUN`: prints text that the transformer of a run writes on from a beginning."""

import argparse

from commons.cli import Parser
from sparse_training.commands.train import add_trust, trusted


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the command."""
    parser = commands.add_parser("sample", help="text that a run's transformer writes", description=__doc__)
    parser.add_argument("folder", metavar="RUN", help="folder of a run on text, read as bytes")
    parser.add_argument("--prompt", default="def ", help="what the text begins with (default: %(default)r)")
    parser.add_argument("--bytes", type=int, default=300, metavar="N", help="length of what is written (%(default)s)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest byte (%(default)s)")
    parser.add_argument("--epoch", type=int, default=-1, help="of the saved network; -1 is the last one")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    add_trust(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the prompt and what follows it; bytes that are no text are shown as \ufffd."""
    import torch

    from commons.checks import refuse
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
    print(bytes(tokens.tolist()).decode(errors="replace"))
    return 0
