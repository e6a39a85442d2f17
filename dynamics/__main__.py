"""The command line of this room: python -m dynamics phase, betas, step, noise, decay and dimension.

Each command saves one .npz with its settings and prints what it holds; figures/ draws it.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from commons import choice, refuse
from commons.cli import Parser, progress
from commons.files import output_directory

if TYPE_CHECKING:
    from theory.flows import Flow

FLOWS = ("standard", "sign-in", "power")


def main() -> int:
    parser = Parser(prog="python -m dynamics", description="Phase diagrams of a single neuron by integration.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    phase = _command(commands, "phase", run_phase, "outcome of a flow from every start (a0, w0)")
    _flow_options(phase)
    phase.add_argument("--grid", type=int, default=512, help="starts along each axis")
    phase.add_argument("--extent", type=float, default=2.0, help="starts lie in [-extent, extent]^2")
    phase.add_argument("--rtol", type=float, default=1e-6, help="relative tolerance of a step")
    phase.add_argument(
        "--horizon", type=float, help="flow time after which a start is undecided (chosen for the flow if left out)"
    )
    phase.add_argument("--device", default="cpu", help="a torch device")
    phase.add_argument("--refine", action="store_true", help="integrate near the boundaries only")
    for name, text in SWEEPS.items():
        sweep = _command(commands, name, run_sweep, text)
        sweep.set_defaults(sweep=name)
        along = "how many of d = 1, 2, 3, 5, 8, 16, 32, 64" if name == "dimension" else "values along each axis"
        sweep.add_argument("--grid", type=int, help=f"{along} (a fitting number if left out)")
        sweep.add_argument("--starts", type=int, help="starts behind each rate (a fitting number if left out)")
        sweep.add_argument("--seed", type=int, default=0, help="seed of starts and noise")
        if name in ("noise", "dimension"):
            _flow_options(sweep, "sign-in", 0.5) if name == "noise" else _flow_options(sweep)
    return parser.execute()


SWEEPS = {
    "betas": "share of balanced starts a < 0 < w that recover, over (beta_a, beta_w)",
    "step": "share of starts a > 0 > w that gradient descent recovers, over learning rate and size of the start",
    "noise": "share of starts a < 0 < w that SGD recovers, over noise and size of the start",
    "decay": "share of starts a < 0 < w that Sign-In recovers, over weight decay and reset period",
    "dimension": "share of balanced starts that recover by input dimension, for each pair of signs",
}


def _command(commands: "argparse._SubParsersAction[Parser]", name: str, run: object, text: str) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--out", type=Path, default=Path(f"{name}.npz"), help="file to write")
    parser.set_defaults(run=run)
    return parser


def _flow_options(parser: Parser, flow: str = "standard", beta_w: float = 1.0) -> None:
    parser.add_argument("--flow", default=flow, help="standard, sign-in or power")
    parser.add_argument("--beta-a", type=float, help="m^2 - w^2 of the outer weight (sign-in: 1)")
    parser.add_argument("--beta-w", type=float, help=f"m^2 - w^2 of the inner weight (sign-in: {beta_w:g})")
    parser.add_argument("--p", type=float, help="exponent of w = sign(u)|u|^p (power: 0.5)")
    parser.set_defaults(values={"beta_a": ("sign-in", 1.0), "beta_w": ("sign-in", beta_w), "p": ("power", 0.5)})


def flow_of(args: argparse.Namespace) -> "Flow":
    """The flow that the options name."""
    from theory import Power, SignIn, Standard

    name = choice("flow", args.flow, FLOWS)
    values = {}
    for parameter, (owner, default) in args.values.items():
        given = getattr(args, parameter)
        if given is not None and owner != name:
            refuse(parameter, given, f"a parameter of flow={name!r}", f"it belongs to {owner}")
        values[parameter] = default if given is None else given
    if name == "standard":
        return Standard()
    return SignIn(values["beta_a"], values["beta_w"]) if name == "sign-in" else Power(values["p"])


def run_phase(args: argparse.Namespace) -> int:
    from dynamics.phase import phase_diagram

    out = _checked(args.out)
    parts = None if args.refine else out.parent / f"{out.name}.parts"
    flow = flow_of(args)
    with progress() as bars:
        task = bars.add_task(str(flow), total=None)
        diagram = phase_diagram(
            flow,
            grid=args.grid,
            extent=args.extent,
            rtol=args.rtol,
            horizon=args.horizon,
            device=args.device,
            refine=args.refine,
            parts=parts,
            report=lambda done, of: bars.update(task, completed=done, total=of),
        )
    diagram.save(out)
    if parts is not None:
        for part in parts.glob("rows-*.npz"):
            part.unlink()
        with suppress(OSError):  # somebody else's files may lie there too
            parts.rmdir()
    for name, share in diagram.shares().items():
        print(f"{name.lower():10s} {share:8.4%}")
    print(f"agreement with the exact basin {diagram.agreement:.6f}\n{out}")
    return 0


def run_sweep(args: argparse.Namespace) -> int:
    import torch

    from dynamics import sweeps

    out = _checked(args.out)
    torch.set_num_threads(1)  # the batches are small: threads would mostly wait for each other
    given = {name: getattr(args, name) for name in ("grid", "starts") if getattr(args, name) is not None}
    if hasattr(args, "flow"):
        given["flow"] = flow_of(args)
    sweep = getattr(sweeps, args.sweep)(seed=args.seed, **given)
    sweep.save(out)
    print(
        f"{sweep.title}: {sweep.rate.min():.3f} to {sweep.rate.max():.3f} over {sweep.x_name} x {sweep.y_name}\n{out}"
    )
    return 0


def _checked(out: Path) -> Path:
    if out.suffix != ".npz":
        refuse("out", str(out), "a path that ends in .npz")
    if out.is_dir():
        refuse("out", str(out), "a file: it is a folder")
    output_directory("out", out.parent)
    return out


if __name__ == "__main__":
    sys.exit(main())
