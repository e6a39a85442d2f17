"""Where a random mask loses to dense training on digits: a search over width, depth, density and number of samples.

`python -m benchmarks.digits_hard` prints the table of results/digits-hard-search.md, and each row on stderr once it is
there. Each arm has its learning rate tuned on the same seeds on which the gap is told, so the table chooses a setting
and decides no claim.
"""

import argparse
import sys
from itertools import product
from typing import Any

import torch

from commons.tables import aligned
from sparse_training.problems import Arm, DigitsHard
from sparse_training.problems.measuring import FIRST_TUNING_SEED, tune

GRID = {"depth": (2,), "width": (32,), "density": (0.05, 0.1, 0.2), "samples": (200, 1000)}


def row(setting: dict[str, Any], seeds: int) -> dict[str, Any]:
    """The error of both arms at their best learning rates, in percent, and the gap between them in points."""
    problem, found = DigitsHard(**setting), dict(setting)
    chosen = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds)
    for arm in (Arm("random mask"), Arm("dense", dense=True)):
        rate, tried = tune(problem, arm, chosen)
        found |= {f"{arm.label}, error %": round(100 * tried[rate], 2), f"{arm.label}, lr": rate}
    gap = found["random mask, error %"] - found["dense, error %"]
    return found | {"gap, points": round(gap, 2)}


def main() -> None:
    """Search and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    rows = []
    for values in product(*GRID.values()):
        rows.append(row(dict(zip(GRID, values, strict=True)), seeds))
        print(rows[-1], file=sys.stderr)
    print(aligned(rows), end="")


if __name__ == "__main__":
    main()
