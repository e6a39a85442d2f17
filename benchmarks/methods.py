"""Every training method on digits at 2 % density: accuracy over seeds, and what a regrown or rewound Sign-In adds.

Run from the project's root; writes results/methods_digits.csv and .md, and goes on where it was stopped.
"""

import sys
from pathlib import Path

from commons.files import output_directory, write_csv, write_text
from commons.parallel import run_jobs
from commons.statistics import mean_interval, paired_interval
from commons.tables import aligned
from sparse_training.config import Config
from sparse_training.engine import train

DENSITY = 0.02
SEEDS = range(5)
SETTINGS = {
    "rigl": ["method.every=20"],
    "gmp": ["method.every=20"],
    "str": ["method.initial=-5", "optimizer.weight_decay=0.025"],
    "imp": ["epochs=10"],
    "lrr": ["epochs=10"],
}
ARMS = [
    *((method, reparam) for method in ("static", "set", "rigl", "gmp", "acdc", "imp", "lrr") for reparam in ("none", "sign-in")),
    ("str", "none"),
]  # fmt: skip


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
    base = accuracies["static", "none"]
    table = []
    for arm, values in accuracies.items():
        mean, gain = mean_interval(values), paired_interval(values, base)
        table.append(
            {
                "method": arm[0],
                "reparam": arm[1],
                "density": by_arm[arm][0]["density"] if arm[0] != "str" else "learned, see csv",
                "accuracy %": f"{mean.mean:.2f} ± {(mean.high - mean.low) / 2:.2f}",
                "against static, points": "–" if arm == ("static", "none") else f"{gain.mean:+.2f} ± {(gain.high - gain.low) / 2:.2f}",
            }
        )  # fmt: skip
    out = output_directory("results", "results")
    text = (
        f"`python {sys.argv[0]}`: digits-mlp, {len(SEEDS)} seeds, mean ± 95 % interval, differences paired by seed.\n\n"
    )
    write_csv(out / "methods_digits.csv", rows)
    write_text(out / "methods_digits.md", text + aligned(table))
    print(aligned(table), end="")


if __name__ == "__main__":
    main()
