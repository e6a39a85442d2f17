"""The tables of `python -m benchmarks.sharpness`: what its rows say of each solver beside the fastest right peer.

A row is one solve: network's stage, solver, seed, seconds, HVPs, value, error and MiB. Rounds of two solvers are
compared by their seeds, so that one that failed or is missing costs no other its place.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rounds import contest, read_csv, spread
from commons.files import write_text
from commons.tables import aligned

STAGES = {"init": 0, "mid": 3, "end": 30}
NETWORKS = {"mlp": "MLP 64-256-256-10, 85,002 parameters", "resnet20": "ResNet-20 on 1x8x8, 272,186 parameters"}
# The rounds of one solver at one stage: its row by seed.
Rounds = Mapping[str, dict[str, Any]]


def tolerance(solver: str) -> float:
    """The relative error within which an answer is right: the tolerance in a solver's name, or 1e-3."""
    return next((float(word) for word in solver.split() if word.startswith("1e-")), 1e-3)


def by_solver(rows: Sequence[dict[str, Any]], stage: str) -> dict[str, Rounds]:
    """The rounds of each solver at a stage, in the order of their seeds."""
    here = sorted((row for row in rows if row["stage"] == stage), key=lambda row: int(row["seed"]))
    names = dict.fromkeys(row["solver"] for row in here)
    return {name: {row["seed"]: row for row in here if row["solver"] == name} for name in names}


def seconds(rounds: Rounds, seeds: Iterable[str] | None = None) -> list[float]:
    """The seconds of each round, or of those of the seeds."""
    return [float(rounds[seed]["seconds"]) for seed in (rounds if seeds is None else seeds)]


def largest_error(rounds: Rounds) -> float | None:
    """The largest error of the rounds; None for what has no value, such as a single product."""
    errors = [row["error"] for row in rounds.values()]
    return None if any(error in (None, "") for error in errors) else max(map(float, errors))


def right_peers(of: Mapping[str, Rounds], ours: Rounds, within: float) -> dict[str, list[float]]:
    """The seconds, in the rounds of ours, of each peer that ran in all of them and is right in each of its own."""
    return {
        name: seconds(rounds, ours)
        for name, rounds in of.items()
        if not name.startswith("ours") and set(ours) <= set(rounds)
        if (error := largest_error(rounds)) is not None and error <= within
    }


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Times over the rounds, the largest error, and the fastest right peer over each solver, round by round."""
    table = []
    for stage in STAGES:
        of = by_solver(rows, stage)
        gradient = median(seconds(of["gradient"])) if "gradient" in of else None
        for name, each in of.items():
            error, spent = largest_error(each), seconds(each)
            peers = right_peers(of, each, tolerance(name)) if error is not None else {}
            ratio = contest(name, spent, peers, "")
            table.append(
                {
                    "stage": stage,
                    "solver": name,
                    "seeds": len(each),
                    "error": None if error is None else f"{error:.0e}",
                    "HVPs": median(int(row["hvps"]) for row in each.values()),
                    "gradients": gradient and round(median(spent) / gradient, 1),
                    **spread(spent),
                    "fastest right peer / this": ratio["ratio"] and round(ratio["ratio"], 2),
                    "ratio, least": ratio["least"] and round(ratio["least"], 2),
                    "ratio, most": ratio["most"] and round(ratio["most"], 2),
                    "MiB": next(
                        (round(float(m)) for row in each.values() if (m := row["MiB"]) not in (None, "")), None
                    ),
                }
            )
    return table


def contests(folder: Path) -> list[dict[str, Any]]:
    """The lines of `make bench` from what has been measured: ours at each stage beside the fastest right peer."""
    lines = []
    for network in NETWORKS:
        rows = read_csv(folder / f"sharpness-{network}.csv")
        for stage in STAGES:
            of = by_solver(rows, stage)
            for name in (name for name in of if name.startswith("ours")):
                peers = right_peers(of, of[name], tolerance(name))
                target = ">= 1" if "chunks" in name else ">= 1.3"
                lines.append(contest(f"λ_max, {network} {stage}, {name}", seconds(of[name]), peers, target))
    return lines


def placed(
    old: list[dict[str, Any]], new: list[dict[str, Any]], stage: str, seed: str, only: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Old and new rows, without the old ones of the stage and the seed; with `only`, of these solvers alone."""
    gone = {row["solver"] for row in old if not only} | {row["solver"] for row in new} | set(only)
    memory = {row["solver"]: row["MiB"] for row in old if row["MiB"]}
    kept = [row for row in old if (row["stage"], row["seed"]) != (stage, seed) or row["solver"] not in gone]
    rows = kept + [{"stage": stage, "seed": seed, **row, "MiB": memory.get(row["solver"])} for row in new]
    return sorted(rows, key=lambda row: list(STAGES).index(row["stage"]))


def write_report(folder: Path) -> str:
    """Write the summary of every network measured so far, and return it."""
    text = "# λ_max side by side with the peers\n"
    for network, title in NETWORKS.items():
        rows = read_csv(folder / f"sharpness-{network}.csv")
        if rows:
            text += f"\n## {title}\n\n{aligned(summary(rows))}"
    text += (
        "\nDigits/16, all 1,797 samples, mean cross-entropy, evaluation mode, all parameters, two CPU cores;"
        " one round a start seed, the largest error over them against float64; init, after 3 and after 30 epochs."
        " HVPs and gradients are medians. A peer is right if its error is within the tolerance that the row names, or"
        " 1e-3, in every round. The fastest round of the fastest right peer is compared with the fastest round of the"
        " row; the least and the most of that ratio within a round show what a slowed round does. MiB: what a"
        " solve after 3 epochs adds to the peak of a process that has solved on 64 samples before."
        "\n\nMade by `python -m benchmarks.sharpness --network mlp` and `--network resnet20`, each once more with"
        " `--memory`.\n"
    )
    write_text(folder / "sharpness_peers.md", text)
    return text
