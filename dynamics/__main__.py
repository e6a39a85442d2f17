"""The command line of this room: python -m dynamics phase, compare, geometry, and sweeps such as betas and adam.

Each command saves one .npz with its settings and prints what it holds; figures/ draws it.
"""

import argparse
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from commons import InputError, number, refuse
from commons.cli import Parser, counting, wrote
from commons.files import output_directory
from theory.flows import FLOWS, Flow, parameters

if TYPE_CHECKING:
    from dynamics.results import PhaseDiagram

SWEEPS = {
    "betas": "share of balanced starts a < 0 < w that recover, over (beta_a, beta_w)",
    "step": "share of starts a > 0 > w that gradient descent recovers, over learning rate and size of the start",
    "adam": "share of starts in a square that Adam recovers, over learning rate and size, eps or weight decay",
    "noise": "share of starts a < 0 < w that SGD recovers, over noise and size of the start",
    "decay": "share of starts a < 0 < w that Sign-In recovers, over weight decay and reset period",
    "dimension": "share of balanced starts that recover by input dimension, for each pair of signs",
}


def main() -> int:
    """Parse the command line and run its command; returns the exit status."""
    parser = Parser(prog="python -m dynamics", description="Phase diagrams of a single neuron by integration.")
    register(parser.add_subparsers(metavar="COMMAND", required=True))
    return parser.execute()


def register(commands: "argparse._SubParsersAction[Parser]") -> None:
    """Add the commands of this room."""
    phase = _command(commands, "phase", run_phase, "outcome of a flow from every start (a0, w0)")
    _flow_options(phase)
    _grid_options(phase, 512)
    compare = _command(commands, "compare", run_compare, "two flows from the same starts, and where they differ")
    for place in ("first", "second"):
        text = "such as layer-rates,rate_a=1,rate_w=0.25: a name as of --flow, and its parameters"
        compare.add_argument(place, metavar=place.upper(), help=text)
    _grid_options(compare, 256)
    random = _command(commands, "geometry", run_geometry, "share of random starts a < 0 < w, by flow and speed")
    random.add_argument("--beta-a", type=float, default=1.0, help="of Sign-In, and its controls are taken from it")
    random.add_argument("--beta-w", type=float, default=0.25, help="of Sign-In, and its controls are taken from it")
    random.add_argument("--starts", type=int, default=256, help="starts behind each share")
    random.add_argument("--seed", type=int, default=0, help="seed of the starts")
    for name, text in SWEEPS.items():
        sweep = _command(commands, name, run_sweep, text)
        sweep.set_defaults(sweep=name)
        along = "how many of d = 1, 2, 3, 5, 8, 16, 32, 64" if name == "dimension" else "values along each axis"
        sweep.add_argument("--grid", type=int, help=f"{along} (a fitting number if left out)")
        sweep.add_argument("--starts", type=int, help="starts behind each rate (a fitting number if left out)")
        sweep.add_argument("--seed", type=int, default=0, help="seed of starts and noise")
        if name == "adam":
            other = "what changes beside the learning rate: the size of the square, eps, or the decoupled weight decay"
            sweep.add_argument("--over", default="size", choices=("size", "eps", "decay"), help=other)
        if name == "noise":
            _flow_options(sweep, "sign-in", {"beta_w": 0.5})
        if name == "dimension":
            _flow_options(sweep)


def _grid_options(parser: Parser, grid: int) -> None:
    parser.add_argument("--grid", type=int, default=grid, help="starts along each axis")
    parser.add_argument("--extent", type=float, default=2.0, help="starts lie in [-extent, extent]^2")
    parser.add_argument("--rtol", type=float, default=1e-6, help="relative tolerance of a step")
    parser.add_argument(
        "--horizon", type=float, help="flow time after which a start is undecided (chosen for the flow if left out)"
    )
    parser.add_argument("--device", default="cpu", help="a torch device")
    parser.add_argument("--refine", action="store_true", help="integrate near the boundaries only")


def _command(
    commands: "argparse._SubParsersAction[Parser]", name: str, run: Callable[[argparse.Namespace], int], text: str
) -> Parser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--out", type=Path, default=Path(f"{name}.npz"), help="file to write")
    parser.set_defaults(run=run)
    return parser


def _flow_options(parser: Parser, flow: str = "standard", instead: dict[str, float] | None = None) -> None:
    """Add --flow, and an option for each parameter of each flow that FLOWS has.

    flow: the default flow.   instead: defaults of this command that replace the flow's own.
    """
    own = instead or {}
    parser.add_argument("--flow", default=flow, help=f"{FLOWS.listed()}, or your own as package.module:callable")
    owners: dict[str, list[str]] = {}
    for name, maker in _flows().items():
        for parameter, (default, text) in parameters(maker).items():
            value = own.get(parameter, default)
            owners.setdefault(parameter, [text]).append(name if value is None else f"{name}: {value:g}")
    for parameter, (text, *flows) in owners.items():
        option = f"--{parameter.replace('_', '-')}"
        parser.add_argument(option, type=float, help=f"{text or 'a parameter'} ({', '.join(flows)})")
    parser.set_defaults(instead=own)


def _flows() -> dict[str, Callable[..., Flow]]:
    """The flows whose parameters are options: those of FLOWS, and one of your own that the command line names."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--flow", default="")
    flows = dict(FLOWS)
    with suppress(InputError, argparse.ArgumentError):  # told in one line once the whole command line is parsed
        name = early.parse_known_args()[0].flow
        if ":" in name:
            flows[name] = FLOWS.find("flow", name)
    return flows


def flow_of(args: argparse.Namespace) -> Flow:
    """The flow that the options name, with the parameters that they give."""
    maker = FLOWS.find("flow", args.flow)
    taken = parameters(maker)
    every = {parameter: name for name, known in _flows().items() for parameter in parameters(known)}
    values = {name: args.instead.get(name, default) for name, (default, _) in taken.items()}
    for parameter, owner in every.items():
        given = getattr(args, parameter)
        if given is not None and parameter not in taken:
            refuse(parameter, given, f"a parameter of flow={args.flow!r}", f"it belongs to {owner}")
        if given is not None:
            values[parameter] = number(parameter, given)
    for name in taken:
        if values[name] is None:
            refuse("flow", args.flow, "complete", f"it needs --{name.replace('_', '-')}")
    flow = maker(**values)
    return flow if isinstance(flow, Flow) else refuse("flow", args.flow, FLOWS.expected)


def run_phase(args: argparse.Namespace) -> int:
    """Integrate a phase diagram, save it, and print the share of each outcome."""
    out = _checked(args.out)
    diagram = _diagram(args, flow_of(args), out)
    for name, share in diagram.shares().items():
        print(f"{name.lower():10s} {share:8.4%}")
    print(f"agreement with the exact basin {diagram.agreement:.6f}")
    wrote(out, then=("figures", "phase", out))
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Integrate two flows from the same starts, save both diagrams, and print a table by quadrant."""
    from commons.tables import aligned
    from dynamics.comparison import by_quadrant, flow_named

    out = _checked(args.out)
    flows = [flow_named(place, getattr(args, place)) for place in ("first", "second")]
    files = [out.with_name(f"{out.stem}-{place}.npz") for place in ("first", "second")]
    first, second = (_diagram(args, flow, _checked(file)) for flow, file in zip(flows, files, strict=True))
    print(f"first:  {first.label}\nsecond: {second.label}\n")
    print(aligned(by_quadrant(first, second)))
    print(f"agreement with the exact basins {first.agreement:.6f}, {second.agreement:.6f}")
    wrote(*files, then=("figures", "compare", *files))
    return 0


def run_geometry(args: argparse.Namespace) -> int:
    """Integrate random starts in every flow at own and at matched speeds, save the shares, and print a table."""
    import torch

    from commons.tables import aligned
    from dynamics.geometry import geometry, table

    out = _checked(args.out)
    torch.set_num_threads(1)  # the batches are small: threads would mostly wait for each other
    with counting("geometry") as report:
        sweep = geometry(beta_a=args.beta_a, beta_w=args.beta_w, count=args.starts, seed=args.seed, report=report)
    sweep.save(out)
    for law in ("balanced", "Gaussian"):
        print(f"share of {law} starts a < 0 < w of scale 1 that recovers\n\n{aligned(table(sweep, law))}")
    print(f"undecided {sweep.settings['undecided']:.4%}")
    wrote(out, then=("figures", "geometry", out))
    return 0


def _diagram(args: argparse.Namespace, flow: Flow, out: Path) -> "PhaseDiagram":
    """The diagram of a flow by the options of `_grid_options`, saved in a file."""
    from dynamics.phase import alone, phase_diagram

    with alone(out) as parts, counting(flow.label) as report:
        diagram = phase_diagram(
            flow,
            grid=args.grid,
            extent=args.extent,
            rtol=args.rtol,
            horizon=args.horizon,
            device=args.device,
            refine=args.refine,
            parts=None if args.refine else parts,
            report=report,
        )
        diagram.save(out)
        for part in parts.glob("rows-*.npz"):
            part.unlink()
    return diagram


def run_sweep(args: argparse.Namespace) -> int:
    """Compute one of SWEEPS, save it, and print the range of its rates."""
    import numpy as np
    import torch

    from dynamics import sweeps

    out = _checked(args.out)
    torch.set_num_threads(1)  # the batches are small: threads would mostly wait for each other
    given = {name: getattr(args, name) for name in ("grid", "starts") if getattr(args, name) is not None}
    if hasattr(args, "over"):
        given["over"] = args.over
    if hasattr(args, "flow"):
        given["flow"] = flow_of(args)
    with counting(args.sweep) as report:
        sweep = getattr(sweeps, args.sweep)(seed=args.seed, report=report, **given)
    sweep.save(out)
    least, most = np.nanmin(sweep.rate), np.nanmax(sweep.rate)
    print(f"{sweep.title}: {least:.3f} to {most:.3f} over {sweep.x_name} x {sweep.y_name}")
    print(f"undecided {sweep.settings['undecided']:.4%}")
    wrote(out, then=("figures", "sweep", out))
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
