"""The tables of a problem: every arm beside plain on the same seeds, and where the signs of the output ended."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from commons.files import output_directory, write_csv, write_json, write_text
from commons.statistics import POWERED, holm, mean_interval, paired_interval, paired_p_value, wilson
from commons.tables import aligned
from commons.verdicts import better
from sparse_training.problems.base import Problem
from sparse_training.problems.measuring import Measured

Row = dict[str, Any]
HIDDEN = ("starts in ", "right from ")


def comparison(problem: Problem, measured: Sequence[Measured]) -> list[Row]:
    """One row an arm: the problem's quantity with half its 95 % interval, and its paired difference from plain.

    detectable: the effect that this many seeds would find four times in five.   gap closed: the gain over plain as a
    share of the gain of the arm `problem.truth`; nothing where that gain is not resolved.   better than plain: whether
    the difference is below 0, at p < .05 after Holm's correction over all rows.
    """
    plain = measured[0].runs.loss[:, 0]
    truths = [m.runs.loss[:, 0] for m in measured if m.arm.label == problem.truth]
    gains = [paired_interval(plain[: len(truth)], truth) for truth in truths]
    gap = next((gain.mean for gain in gains if gain.low > 0), 0.0)
    others = measured[1:]
    adjusted = holm([paired_p_value(m.runs.loss[:, 0], plain[: len(m.runs.loss)]) for m in others])
    rows = [_row(problem, measured[0], plain, None, gap)]
    return rows + [_row(problem, m, plain, float(p), gap) for m, p in zip(others, adjusted, strict=True)]


def _row(
    problem: Problem, measured: Measured, plain: np.ndarray[Any, np.dtype[np.float64]], p: float | None, gap: float
) -> Row:
    loss = measured.runs.loss[:, 0]
    own, base = mean_interval(loss), plain[: len(loss)]
    difference = paired_interval(loss, base) if p is not None else None
    spread = float((loss - base).std(ddof=1)) if len(loss) > 1 else math.nan
    return {
        "arm": measured.arm.label,
        "seeds": own.n,
        "lr": measured.lr,
        problem.quantity: own.mean,
        "±": (own.high - own.low) / 2,
        "difference": difference.mean if difference else None,
        "low": difference.low if difference else None,
        "high": difference.high if difference else None,
        "p (Holm)": p,
        "better than plain": str(better(-difference.mean, p)) if difference and p is not None else None,
        "detectable": POWERED * spread / math.sqrt(len(loss)) if difference else None,
        "gap closed": -difference.mean / gap if difference and gap else None,
        "cost %": 100 * measured.runs.cost if measured.runs.cost else None,
        "diverged": int(measured.runs.diverged.sum()),
    }


def controls(measured: Sequence[Measured]) -> list[Row]:
    """One row a Sign-In arm: its paired difference from the plain layers whose rates have its mean speeds.

    better than rates: whether the difference is below 0, at p < .05 after Holm's correction over these rows.
    """
    pairs = [(m, measured[i + 1]) for i, m in enumerate(measured) if m.arm.needs_control]
    losses = [(own.runs.loss[:, 0], rates.runs.loss[:, 0]) for own, rates in pairs]
    adjusted = holm([paired_p_value(*both) for both in losses])
    rows: list[Row] = []
    for (own, _), both, p in zip(pairs, losses, adjusted, strict=True):
        difference = paired_interval(*both)
        rows.append(
            {
                "arm": own.arm.label,
                "rates, from input to output": _rates(own),
                "difference from them": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "p (Holm)": float(p),
                "better than rates": str(better(-difference.mean, float(p))),
            }
        )
    return rows


def _rates(measured: Measured) -> str:
    first, *_ = measured.runs.speeds
    return " : ".join(f"{speed / first:.2f}" for speed in measured.runs.speeds)


def endings(measured: Sequence[Measured]) -> list[Row]:
    """One row an arm: the means of what else was measured at the end, with λ_max ± half of its 95 % interval."""
    names = dict.fromkeys(name for m in measured for name in m.runs.measures if not name.startswith(HIDDEN))
    rows = []
    for m in measured:
        row: Row = {"arm": m.arm.label}
        for name in names:
            values = m.runs.measures.get(name)
            values = None if values is None else values[np.isfinite(values)]
            row[name] = None if values is None or not len(values) else float(values.mean())
            if name == "λ_max":
                interval = mean_interval(values) if values is not None and len(values) else None
                row["λ_max ±"] = (interval.high - interval.low) / 2 if interval else None
        rows.append(row)
    return rows


def quadrants(measured: Sequence[Measured]) -> list[Row]:
    """One row an arm: the share of output weights that end with the teacher's sign, by the quadrant of their start.

    a+ starts with the teacher's sign; w+ is the half-plane w·v > 0. Each share has its 95 % Wilson interval.
    """
    rows = []
    for m in measured:
        names = [name.removeprefix("starts in ") for name in m.runs.measures if name.startswith("starts in ")]
        if not names:
            continue
        row: Row = {"arm": m.arm.label}
        for name in names:
            starts, right = (float(m.runs.measures[f"{kind}{name}"].sum()) for kind in HIDDEN)
            row[name] = f"{right / starts:.3f} ± {_half(right, starts):.3f}" if starts else None
        rows.append(row)
    return rows


def _half(successes: float, trials: float) -> float:
    low, high = wilson(successes, trials)
    return float(high - low) / 2


def report(problem: Problem, measured: Sequence[Measured], command: str) -> str:
    """The whole report as Markdown that a terminal can show."""
    first = measured[0]
    tuned = "learning rates tuned per arm on seeds that are not reported, none at the edge of its grid"
    parts = [
        f"# Problem: {problem.name}\n\n`{command}`\n\n",
        f"{problem.quantity.capitalize()}: {problem.meaning}. {len(first.runs.loss)} held-out "
        f"seeds, differences from plain paired by seed with 95 % intervals; {tuned}. Every arm has the same free decay "
        f"of a weight, {problem.decay:g} a unit of learning rate. Smallest effect of interest: {problem.effect:g}.\n\n",
        aligned([_rounded(row) for row in comparison(problem, measured)]),
        "\nHow the runs ended, in means over seeds.\n\n",
        aligned([_rounded(row) for row in endings(measured)]),
    ]
    if table := controls(measured):
        parts.append("\nSign-In against plain layers with rates in the ratio of its mean speeds.\n\n")
        parts.append(aligned([_rounded(row) for row in table]))
    if table := quadrants(measured):
        parts.append("\nShare of output weights that end with the teacher's sign, by the quadrant of their start.\n\n")
        parts.append(aligned(table))
    return "".join(parts)


def write_report(problem: Problem, measured: Sequence[Measured], command: str, out: Path) -> str:
    """Write problem-NAME.md, .csv (the comparison) and .json (every number by seed) into a folder; returns the text.

    Settings that are words and differ from their defaults become part of the name: problem-NAME-adam.md.
    """
    words = [str(getattr(problem, f.name)) for f in fields(problem) if isinstance(f.default, str)]
    usual = [f.default for f in fields(problem) if isinstance(f.default, str)]
    changed = [word for word, default in zip(words, usual, strict=True) if word != default]
    folder, stem = output_directory("out", out), "-".join(["problem", problem.name, *changed])
    text = report(problem, measured, command)
    write_text(folder / f"{stem}.md", text)
    write_csv(folder / f"{stem}.csv", [_rounded(row) for row in comparison(problem, measured)])
    write_json(
        folder / f"{stem}.json",
        {"command": command, "quantity": problem.quantity, "arms": [_record(problem, m) for m in measured]},
    )
    return text


def _record(problem: Problem, m: Measured) -> Mapping[str, Any]:
    return {
        "arm": m.arm.label,
        "lr": m.lr,
        "tried": {f"{lr:g}": loss for lr, loss in m.tried.items()},
        problem.quantity: m.runs.loss[:, 0].tolist(),
        "speeds": list(m.runs.speeds),
        "cost": m.runs.cost,
        "measures": {
            name: [None if math.isnan(value) else value for value in values.ravel().tolist()]
            for name, values in m.runs.measures.items()
        },
    }


def _rounded(row: Row) -> Row:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in row.items()}
