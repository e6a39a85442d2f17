"""What the rounds of a benchmark say: their least, median and most, and ours beside the fastest peer that is right."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any


def spread(values: Sequence[float], of: str = "seconds") -> dict[str, float]:
    """Columns with the least, the median and the most of the rounds, so that one bad round is seen.

    of: what is measured, with its unit, which the first column's name bears.
    """
    return {f"{of}, least": min(values), "median": median(values), "most": max(values)}


def ratios(peer: Sequence[float], ours: Sequence[float]) -> tuple[float, float, float]:
    """Least, median and most of peer / ours, each taken within a round, so that what slows a round slows both."""
    each = [a / b for a, b in zip(peer, ours, strict=True)]
    return min(each), median(each), max(each)


def contest(
    row: str, ours: Sequence[float], peers: Mapping[str, Sequence[float]], target: str, unit: str = "s"
) -> dict[str, Any]:
    """One line of the table in which `make bench` ends.

    ours: one number a round, smaller being better. peers: the same of those peers that are right, by name, in the same
    rounds. A round can only be slowed, as where another library's threads spin on for seconds: the fastest peer is the
    one with the fastest round, and `ratio` compares fastest rounds. least, most: that peer over ours within a round.
    """
    line: dict[str, Any] = {"row": row, "ours": f"{min(ours):.3g} {unit}"}
    if not peers:
        return {**line, "fastest right peer": None, "ratio": None, "least": None, "most": None, "target": target}
    name = min(peers, key=lambda peer: min(peers[peer]))
    least, _, most = ratios(peers[name], ours)
    fastest = f"{min(peers[name]):.3g} {unit}, {name}"
    ratio = min(peers[name]) / min(ours)
    return {**line, "fastest right peer": fastest, "ratio": ratio, "least": least, "most": most, "target": target}


def read_csv(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, none if there is no file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))
