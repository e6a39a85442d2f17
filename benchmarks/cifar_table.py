"""CIFAR-10/ResNet-20 with a random mask: dense, plain, Sign-In and HAM at three densities, seed after seed.

Finished runs are kept, the one in progress is saved and goes on in the next call, and the table holds what is there.
"""

import argparse
import datetime
import os
import shlex
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import torch

from commons.files import write_csv, write_text
from commons.statistics import mean_interval
from commons.tables import aligned
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run

DENSITIES = (0.2, 0.1, 0.05)
GRACE = 20  # seconds for a run to save itself


def commands(args: argparse.Namespace) -> dict[tuple[str, float, int], list[str]]:
    """The training commands by variant, density and seed, all cells of a seed before the next seed."""
    cuda = args.device == "cuda"
    found = {}
    cells = [("none", 1.0), *((reparam, d) for d in DENSITIES for reparam in ("none", "sign-in", "ham"))]
    for seed, (reparam, density) in product(range(args.seeds), cells):
        name = "dense" if density == 1 else {"none": "plain"}.get(reparam, reparam)
        settings = [f"engine.graphs={str(cuda).lower()}"]
        options = {"preset": "cifar10-resnet20", "data": args.data, "density": density, "mask": "random"}
        options |= {"reparam": reparam, "seed": seed, "device": args.device}
        options |= {"epochs": args.epochs} if args.epochs else {} if cuda else {"epochs": 3}
        options["out"] = args.runs / f"{name}-{density:g}-{seed}"
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        found[name, density, seed] = [sys.executable, "-m", "sparse_training", "train", *words, "--set", *settings]
    return found


def train_until(args: argparse.Namespace) -> bool:
    """Train, `--jobs` runs at a time, until all are finished (True) or the time is over (False)."""
    waiting = [c for c in commands(args).values() if not (Path(c[c.index("--out") + 1]) / "summary.json").exists()]
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        running = [process for process in running if process.poll() is None]
        if args.until and time.time() > args.until - GRACE:
            for process in running:
                process.send_signal(signal.SIGTERM)
            for process in running:
                process.wait()
            return False
        while waiting and len(running) < args.jobs:
            running.append(subprocess.Popen(waiting.pop(0)))
        time.sleep(0.2)
    return True


def table(args: argparse.Namespace) -> list[dict[str, object]]:
    """One row a cell with the finished runs: accuracy in percent, 95 % interval, seconds an epoch."""
    found: dict[tuple[str, float], list[Run]] = {}
    for (name, density, _), command in commands(args).items():
        folder = Path(command[command.index("--out") + 1])
        if (folder / "summary.json").exists():
            found.setdefault((name, density), []).append(Run(folder))
    rows: list[dict[str, object]] = []
    for (name, density), runs in found.items():
        accuracy = mean_interval([run.summary["test_accuracy"] for run in runs])
        rows.append(
            {
                "variant": name,
                "sparsity %": round(100 * (1 - density)),
                "seeds": accuracy.n,
                "epochs": runs[0].summary["epochs"],
                "accuracy %": round(accuracy.mean, 2),
                "±": round((accuracy.high - accuracy.low) / 2, 2) if accuracy.n > 1 else None,
                "s an epoch": round(min(run.summary["seconds"] / run.summary["epochs"] for run in runs), 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train/CLASS/ and test/CLASS/")
    parser.add_argument("--runs", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=0, help="0: the preset's, or 3 without a GPU")
    parser.add_argument("--jobs", type=int, default=0, help="runs at a time, 0: one for three cores on a GPU, else one")
    parser.add_argument("--until", type=float, default=0, help="Unix time by which to be done, 0: no limit")
    args = parser.parse_args()
    cuda = args.device == "cuda"
    args.jobs = args.jobs or (max(1, (os.cpu_count() or 1) // 3) if cuda else 1)
    args.runs.mkdir(parents=True, exist_ok=True)
    done = train_until(args)
    rows = table(args)
    if rows:
        device = torch.cuda.get_device_name() if cuda else "CPU"
        epochs = args.epochs or (Config.preset("cifar10-resnet20").epochs if cuda else 3)
        note = f"{device}, {datetime.date.today()}, {epochs} epochs, {args.jobs} runs at a time"
        text = f"# CIFAR-10, ResNet-20, random masks\n\n`{shlex.join(sys.argv)}`\n\n{note}\n\n{aligned(rows)}"
        write_csv(args.out / f"cifar10-resnet20-{args.device}.csv", rows)
        write_text(args.out / f"cifar10-resnet20-{args.device}.md", text)
        print(aligned(rows), end="")
    print("nothing is left" if done else "time is over; call again to go on")


if __name__ == "__main__":
    main()
