"""Rows of tables as the report shows them: fewer columns, fewer digits, and names for people. The files keep all."""

import re
from collections.abc import Mapping, Sequence

from figures.published import Table
from figures.tables import Rows

COUNTED = re.compile(r" \(n=(\d+)\)$")  # how many seeds an interval is over
SMALLEST_P = 0.001


def phases(rows: Rows) -> Rows:
    """Rows of phase diagrams, the flows with their parameters as they are written for people."""
    return [
        {
            **row,
            "flow": str(row["flow"]).replace("beta_", "β_"),
            "starts": f"{row['starts']:,}",
            "agreement": f"{100 * row['agreement']:.6g} %",
        }
        for row in rows
    ]


def summaries(rows: Rows) -> Rows:
    """Means ± intervals, one model after the other; the number of seeds is left out where the title has it."""
    ordered = sorted(rows, key=lambda row: [row["model"] for row in rows].index(row["model"]))
    counts = {found[1] for row in rows for value in row.values() if (found := COUNTED.search(str(value)))}
    if len(counts) > 1:
        return ordered
    return [
        {key: COUNTED.sub("", value) if isinstance(value, str) else value for key, value in row.items()}
        for row in ordered
    ]


def arms(rows: Sequence[Mapping[str, str]]) -> Rows:
    """Arms of a problem, as `problem` writes them to its CSV: intervals as ±, small p values by their bound."""
    metric = list(rows[0])[3]
    diverged = any(row["diverged"] not in ("", "0") for row in rows)
    return [
        {
            "arm": row["arm"],
            "seeds": row["seeds"],
            metric: f"{float(row[metric]):.3f} ± {float(row['±']):.3f}",
            "difference from plain": _difference(row),
            "p": _p_value(row["p (Holm)"]),
            "better than plain": row["better than plain"] or "–",
            "gap closed": f"{100 * float(row['gap closed']):z.0f} %" if row["gap closed"] else "–",
        }
        | ({"diverged": row["diverged"]} if diverged else {})
        for row in rows
    ]


def published(table: Table) -> Rows:
    """A published table, every accuracy with two decimals."""
    return [
        {key: value if isinstance(value, str) else f"{value:.2f}" for key, value in row.items()}
        for row in table.as_rows()
    ]


def _difference(row: Mapping[str, str]) -> str:
    if not row["difference"]:
        return "–"
    half = (float(row["high"]) - float(row["low"])) / 2
    return f"{float(row['difference']):+z.3f} ± {half:.3f}"


def _p_value(text: str) -> str:
    if not text:
        return "–"
    return f"{float(text):.3f}" if float(text) >= SMALLEST_P else f"< {SMALLEST_P}"
