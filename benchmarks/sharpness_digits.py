"""The claim that Sign-In ends in flatter minima, on digits: λ_max after training with random masks, paired by seed.

    python -m benchmarks.sharpness_digits --runs FOLDER [--density 0.1] [--seeds 10] [--out results]

Every run is a folder of its own; the same command again goes on from what is there. λ_max is that of the mean
cross-entropy on the training samples in θ, on the active weights, in evaluation mode.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from commons.cli import Parser, progress
from commons.files import output_directory, write_csv, write_text
from commons.parallel import run_jobs
from commons.statistics import mean_interval, paired_interval
from commons.tables import aligned

# HAM's α = 200, as published for ImageNet, diverges here (seed 0, step 36): a tenth of it is the first value tried.
ARMS = {
    "random mask": ["reparam=none"],
    "Sign-In": ["reparam=sign-in"],
    "HAM, α = 20": ["reparam=ham", "reparam.alpha=20"],
}


def measure(folder: str, preset: str, density: float, arm: str, seed: int) -> dict[str, Any]:
    """Train one run where it is not there, and measure its last network."""
    from torch.nn.functional import cross_entropy

    from sparse_training import data
    from sparse_training.runs.config import Config
    from sparse_training.runs.run import Run
    from sparse_training.sharpness import max_eigenvalue
    from sparse_training.training.loop import train

    settings = [f"seed={seed}", f"mask.density={density}", *ARMS[arm]]
    path = Path(folder) / f"arm{list(ARMS).index(arm)}-density{density:g}-seed{seed}"
    train(Config.preset(preset).with_set(settings), path)
    run = Run(path)
    samples = data.load(run.config.data.name).samples("train")
    pair = max_eigenvalue(run.model(), cross_entropy, samples, run.masks(), tol=1e-4)
    return {
        "lambda_max": pair.value,
        "error": pair.error,
        "converged": pair.converged,
        "hvps": pair.hvps,
        "test accuracy": run.metrics()[-1]["test_accuracy"],
        "train loss": run.metrics()[-1]["train_loss"],
    }


def main() -> int:
    """Train, measure, compare."""
    parser = Parser(prog="python -m benchmarks.sharpness_digits", description=__doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder of all runs")
    parser.add_argument("--preset", default="digits-mlp", help="configuration of every run")
    parser.add_argument("--density", type=float, default=0.1, help="share of the prunable weights that is kept")
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0, 1, ...")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 is one a core")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the two files")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """The command."""
    keys = [(arm, seed) for seed in range(args.seeds) for arm in ARMS]
    folder = output_directory("runs", args.runs)
    jobs = [(str(folder), args.preset, args.density, arm, seed) for arm, seed in keys]
    rows: list[dict[str, Any]] = [{} for _ in keys]
    with progress() as bar:
        for i, measured in bar.track(run_jobs(measure, jobs, args.workers), total=len(jobs), description="runs"):
            rows[i] = {"arm": keys[i][0], "seed": keys[i][1], **measured}
    values = {arm: [row["lambda_max"] for row in rows if row["arm"] == arm] for arm in ARMS}
    table = []
    for arm in ARMS:
        each = mean_interval(values[arm])
        gain = paired_interval(values[arm], values["random mask"])
        accuracy = mean_interval([row["test accuracy"] for row in rows if row["arm"] == arm])
        difference = None if arm == "random mask" else f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"
        table.append(
            {
                "arm": arm,
                "λ_max": str(each),
                "minus random mask, 95 % paired": difference,
                "test accuracy, %": str(accuracy),
                "unconverged": sum(not row["converged"] for row in rows if row["arm"] == arm),
            }
        )
    out = output_directory("out", args.out)
    write_csv(out / "sharpness_digits.csv", rows)
    command = shlex.join(["python", "-m", "benchmarks.sharpness_digits", "--runs", "runs/sharpness", *_asked(args)])
    text = f"# λ_max on digits after training\n\n{aligned(table)}\nMade by `{command}`.\n"
    write_text(out / "sharpness_digits.md", text)
    print(text)


def _asked(args: argparse.Namespace) -> list[str]:
    return ["--preset", args.preset, "--density", f"{args.density:g}", "--seeds", str(args.seeds)]


if __name__ == "__main__":
    sys.exit(main())
