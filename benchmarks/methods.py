"""Every training method on digits at 2 % density: accuracy over seeds, and what a regrown or rewound Sign-In adds.

Run from the project's root; writes results/methods_digits.csv and .md, and goes on where it was stopped.
"""

import sys
from pathlib import Path

from commons.files import output_directory, write_csv, write_text
from commons.parallel import run_jobs
from commons.statistics import Interval, mean_interval, paired_interval
from commons.tables import aligned
from sparse_training.runs.config import Config
from sparse_training.training.loop import train

DENSITY = 0.02
SEEDS = range(5)
SETTINGS = {
    "rigl": ["method.every=20"],
    "gmp": ["method.every=20"],
    "str": ["method.initial=-5", "optimizer.weight_decay=0.025"],
    "imp": ["epochs=10"],
    "lrr": ["epochs=10"],
}
METHODS = ("static", "set", "rigl", "gmp", "acdc", "imp", "lrr")
ARMS = [*((method, reparam) for method in METHODS for reparam in ("none", "sign-in")), ("str", "none")]
BASE = ("static", "none")


def accuracy(method: str, reparam: str, seed: int) -> dict[str, object]:
    """Train one run unless it is finished; its row."""
    config = Config.preset("digits-mlp").with_set(
        [f"method={method}", f"reparam={reparam}", f"seed={seed}", f"mask.density={DENSITY}", *SETTINGS.get(method, [])]
    )
    summary = train(config, Path("runs/methods_digits") / f"{method}-{reparam}-{seed}")
    return {
        "method": method,
        "reparam": reparam,
        "seed": seed,
        "accuracy": summary.test_accuracy,
        "density": summary.density,
    }


def main() -> None:
    jobs = [(*arm, seed) for arm in ARMS for seed in SEEDS]
    found = dict(run_jobs(accuracy, jobs))
    rows = [found[index] for index in sorted(found)]
    by_arm = {arm: [r for r in rows if (r["method"], r["reparam"]) == arm] for arm in ARMS}
    accuracies = {arm: [float(str(row["accuracy"])) for row in own] for arm, own in by_arm.items()}
    table = [
        {
            "method": method,
            "reparam": reparam,
            "mean density": mean_interval([float(str(row["density"])) for row in by_arm[method, reparam]]).mean,
            "accuracy %": _text(mean_interval(values), ""),
            "against static, points": _text(paired_interval(values, accuracies[BASE]), "+"),
        }
        for (method, reparam), values in accuracies.items()
    ]
    out = output_directory("results", "results")
    text = (
        f"`python {sys.argv[0]}`: digits-mlp, {len(SEEDS)} seeds, mean ± 95 % interval, differences paired by seed.\n\n"
    )
    write_csv(out / "methods_digits.csv", rows)
    write_text(out / "methods_digits.md", text + aligned(table))
    print(aligned(table), end="")


def _text(interval: Interval, sign: str) -> str:
    return f"{interval.mean:{sign}.2f} ± {(interval.high - interval.low) / 2:.2f}"


if __name__ == "__main__":
    main()
