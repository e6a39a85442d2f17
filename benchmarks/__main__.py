"""Every benchmark beside its peers, one after another, and one table at the end: ours, the fastest right peer, target.

    python -m benchmarks [--tiny] [--out FOLDER]

Each part is a process of its own and writes its rows to FOLDER; a part that fails, or does not end in half an hour, is
named, and the others go on. With --tiny it takes a minute or two, its numbers say nothing, and FOLDER is build/bench.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import dynamics, sharpness_tables
from benchmarks.rounds import read_csv
from commons.cli import Parser
from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned

# Each part with its arguments, and those by which it is tried.
PARTS: dict[str, tuple[list[str], list[str]]] = {
    "dynamics": ([], ["--grid", "64", "--rounds", "2", "--solvers", "dynamics, fused", "dynamics, eager", "numba DP5"]),
    "flows": ([], ["--grid", "16", "--many", "16", "--rounds", "1"]),
    "sharpness": (["--network", "mlp"], ["--network", "mlp", "--stage", "end", "--seed", "0"]),
    "sharpness, ResNet-20": (["--network", "resnet20"], []),
    "sharpness, memory": (["--network", "mlp", "--memory"], []),
    "sharpness, memory of ResNet-20": (["--network", "resnet20", "--memory"], []),
    "training": (["--device", "cpu"], ["--device", "cpu", "--models", "resnet20", "--rounds", "2"]),
    "signs": ([], []),
}
UNWRITTEN = ("signs",)  # print their table and take no folder
# Seconds after which a part is ended: several times what each takes on two idle cores.
LIMIT = 1800


def steps(folder: Path) -> list[dict[str, Any]]:
    """The lines of training: a step of Sign-In beside one of a static mask."""
    rows = read_csv(folder / "training-speed-cpu.csv")
    lines = []
    for row in (row for row in rows if row["variant"] == "Sign-In"):
        same = [other for other in rows if all(other[key] == row[key] for key in ("model", "mode", "precision"))]
        plain = next((other for other in same if other["variant"] == "static mask"), None)
        if plain is None:
            continue
        least, middle, most = (1 / float(row[f"{which}of static"]) for which in ("most ", "", "least "))
        lines.append(
            {
                "row": f"step of Sign-In, {row['model']}, {row['mode']}",
                "ours": f"{float(row['median']):.3g} ms",
                "fastest right peer": f"{float(plain['median']):.3g} ms, static mask",
                "ratio": middle,
                "least": least,
                "most": most,
                "target": ">= 0.95",
            }
        )
    return lines


def main() -> int:
    """The command."""
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder of all tables (default: results)")
    parser.add_argument("--tiny", action="store_true", help="a trial of every part that can be short")
    parser.set_defaults(run=run)
    return parser.execute()


def run(args: argparse.Namespace) -> None:
    """Run the parts and write the table after each."""
    out = output_directory("out", args.out or Path("build/bench" if args.tiny else "results"))
    told: list[str] = []
    for name, (usual, tiny) in PARTS.items():
        module, arguments = name.split(",")[0], tiny if args.tiny else usual
        if args.tiny and not tiny:
            continue
        command = [sys.executable, "-m", f"benchmarks.{module}", *arguments]
        begun = time.perf_counter()
        try:
            to = [] if module in UNWRITTEN else ["--out", str(out)]
            code = subprocess.run([*command, *to], check=False, timeout=LIMIT).returncode
            ended = "ended" if code == 0 else f"FAILED with status {code}"
        except subprocess.TimeoutExpired:
            ended = "was STOPPED"
        told.append(f"{name} {ended} after {time.perf_counter() - begun:.0f} s")
        print(told[-1], flush=True)
        lines = table(out, told)
    print(aligned(lines))


def table(out: Path, told: list[str]) -> list[dict[str, Any]]:
    """Write the table from what has been measured, and return its lines; what cannot be read is told."""
    lines: list[dict[str, Any]] = []
    failed = []
    for part in (dynamics.contests, sharpness_tables.contests, steps):
        try:
            lines += part(out)
        except (KeyError, ValueError) as error:  # a file of another version
            failed.append(f"{part.__module__}: {type(error).__name__}: {error}")
    write_csv(out / "bench.csv", lines)
    note = "The ratio is the peer's time over ours; the least and the most are those of single rounds.\n"
    parts = "".join(f"- {line}\n" for line in (*told, *failed))
    write_text(out / "bench.md", f"# Beside the peers\n\n{aligned(lines)}\n{note}\n{parts}\nMade by `make bench`.\n")
    return lines


if __name__ == "__main__":
    sys.exit(main())
