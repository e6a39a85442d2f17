"""What a sweep costs and saves: epochs of small runs, a campaign against its commands in turn, and seeds not needed.

python -m benchmarks.campaign epochs --data FOLDER     seconds of an epoch, CIFAR-10 at 16×16 on one thread
python -m benchmarks.campaign sweep                    a sweep against the same runs one command after another
python -m benchmarks.campaign stopping                 runs that `--stop-when resolved` saves, by the effect
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rounds import spread
from commons.cli import Parser
from commons.sequential import sequential_p_value
from commons.tables import aligned

EPOCH, STEPS = 391, 100  # steps of an epoch, and those that are made, from which the rest is reckoned
SETTINGS = ["model=resnet20", "data.name=benchmarks.campaign:part", "batch_size=128", "mask.density=0.1"]
SETTINGS += ["engine.device=cpu", "engine.threads=1", "engine.precision=bfloat16", "engine.channels_last=true"]
ARMS = {"plain": [], "Sign-In": ["reparam=sign-in"], "HAM": ["reparam=ham", "reparam.alpha=20"]}


def part(root: Path, device: str, augment: bool) -> Any:
    """CIFAR-10 at 16×16 with as many training images as `STEPS` steps need, and all test images."""
    from sparse_training.data import Images, load

    data: Any = load("cifar10-16", root, device=device, augment=augment)
    images = data.images["train"]
    few = Images(images.pixels[: 128 * STEPS], images.labels[: 128 * STEPS])
    return replace(data, n_train=len(few.labels), images={**data.images, "train": few})


def epochs(args: argparse.Namespace) -> None:
    """CPU seconds of an epoch, which other work on the machine does not change, and what they are spent on.

    An epoch is reckoned from rounds of `STEPS` of its steps, after a first one, which compiles: begin s.
    """
    from sparse_training.runs.config import Config
    from sparse_training.signs import SignTracker
    from sparse_training.training import loop
    from sparse_training.training.passes import Passes

    rows = []
    for compiled in [mode == "compiled" for mode in args.modes]:
        for name, settings in ((arm, ARMS[arm]) for arm in args.arms):
            config = Config().with_set([*SETTINGS, *settings, f"data.root={args.data}", f"epochs={args.epochs + 1}"])
            config = config.with_set([f"engine.compile={str(compiled).lower()}"])
            spent = {"evaluation": 0.0, "signs": 0.0}
            ends: list[float] = []
            begun = time.process_time()
            evaluate, record = Passes.evaluate, SignTracker.record
            try:
                Passes.evaluate = _timed(evaluate, spent, "evaluation")  # type: ignore[method-assign]
                SignTracker.record = _timed(record, spent, "signs")  # type: ignore[method-assign]

                def ended(_: object, spent: dict[str, float] = spent, ends: list[float] = ends) -> None:
                    ends.append(time.process_time())
                    if len(ends) == 1:  # the first epoch compiles
                        spent.update(evaluation=0.0, signs=0.0)

                with tempfile.TemporaryDirectory() as folder:
                    loop.train(config, Path(folder) / "run", progress=ended)
            finally:
                Passes.evaluate, SignTracker.record = evaluate, record  # type: ignore[method-assign]
            once = {key: value / (len(ends) - 1) for key, value in spent.items()}  # in a round, as in an epoch
            rest = sum(once.values())
            each = [(end - start - rest) * EPOCH / STEPS + rest for start, end in itertools.pairwise(ends)]
            shares = {f"{key} %": 100 * len(each) * value / sum(each) for key, value in once.items()}
            row = {"arm": name, "mode": "compiled" if compiled else "eager", "begin s": ends[0] - begun}
            rows.append({**row, **spread(each, "CPU s an epoch"), **shares})
            print(aligned(rows[-1:]), flush=True)
    print(aligned(rows))


def _timed(function: Callable[..., Any], spent: dict[str, float], key: str) -> Callable[..., Any]:
    def timed(*args: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*args)
        finally:
            spent[key] += time.process_time() - begun

    return timed


def sweep(args: argparse.Namespace) -> None:
    """Wall and CPU seconds of a sweep over all cores and of the same runs as commands in turn, in rounds.

    On a machine with nothing else to do the ratio is that of the wall; twice that of the CPU seconds is what two free
    cores would give, also where the machine is not free.
    """
    from sparse_training.sweeps import Settings, Sweep, load_plan

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        file = folder / "campaign.toml"
        file.write_text(
            f'preset = "digits-cnn"\nseeds = {args.seeds}\n[base]\nepochs = {args.epochs}\nmask.density = 0.1\n'
            'engine.device = "cpu"\n[arms]\nplain = {}\n"Sign-In" = { reparam.name = "sign-in" }\n'
        )
        for number in range(args.rounds):
            out = folder / f"sweep-{number}"
            command = [sys.executable, "-m", "sparse_training", "sweep", str(file), "--out", str(out)]
            together = _seconds([command], environment)
            jobs = Sweep(load_plan(file), Settings(out, out / "ledger.jsonl")).jobs
            commands = []
            for job in jobs:
                config = folder / f"{job.address}.toml"
                config.write_text(job.toml)
                words = ["train", "--config", str(config), "--out", str(folder / f"alone-{number}-{job.address}")]
                commands.append([sys.executable, "-m", "sparse_training", *words])
            alone = _seconds(commands, environment)
            row = {"runs": len(jobs), "sweep s": together[0], "in turn s": alone[0], "ratio": alone[0] / together[0]}
            rows.append(row | {"sweep CPU s": together[1], "in turn CPU s": alone[1]})
    print(aligned(rows))
    print(aligned([{"of": key, **spread([row[key] for row in rows], "rounds")} for key in rows[0]]))


def _seconds(commands: list[list[str]], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and CPU seconds of commands, one after another."""
    begun, before = time.perf_counter(), os.times()
    for command in commands:
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, spent


def stopping(args: argparse.Namespace) -> None:
    """Seeds until a difference is resolved, of at most `--seeds`, in 1,000 simulated sequences for each true effect."""
    rng = np.random.default_rng(0)
    rows = []
    for effect in (0.0, 0.5, 1.0, 1.5, 2.0, 3.0):
        taken, claims = [], 0
        for _ in range(1000):
            x = rng.normal(effect, 1, args.seeds).tolist()
            first = next((n for n in range(2, args.seeds + 1) if sequential_p_value(x[:n]) <= 0.05), None)
            claims += first is not None
            taken.append(first or args.seeds)
        saved = 100 * (1 - float(np.mean(taken)) / args.seeds)
        rows.append(
            {"effect, deviations": effect, "claims %": claims / 10, "mean seeds": np.mean(taken), "saved %": saved}
        )
    print(aligned(rows))


def main() -> int:
    """The command."""
    parser = Parser(prog="python -m benchmarks.campaign", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="PART")
    command = commands.add_parser("epochs", help="seconds of an epoch")
    command.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10")
    command.add_argument("--epochs", type=int, default=2, help=f"rounds of {STEPS} steps after the first")
    command.add_argument(
        "--modes", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"], help="of them"
    )
    command.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), help="of them")
    command.set_defaults(run=epochs)
    command = commands.add_parser("sweep", help="a sweep against its commands in turn")
    command.add_argument("--seeds", type=int, default=4, help="of two arms")
    command.add_argument("--epochs", type=int, default=30, help="of digits-cnn")
    command.add_argument("--rounds", type=int, default=3, help="repetitions")
    command.set_defaults(run=sweep)
    command = commands.add_parser("stopping", help="seeds that are saved")
    command.add_argument("--seeds", type=int, default=30, help="of each arm at most")
    command.set_defaults(run=stopping)
    return parser.execute()


if __name__ == "__main__":
    sys.exit(main())
