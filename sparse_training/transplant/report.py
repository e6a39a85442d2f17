"""Rows of runs as the report of a transplant: the paper's table, the comparisons and the statements, CSV and Markdown.

It trains nothing; verdict.py says what the numbers mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.verdict import Comparison, Statement, compare_starts, statements

Rows = Sequence[Mapping[str, Any]]


def comparisons_of(rows: Rows, margin: float) -> dict[str, list[Comparison]]:
    """Comparisons by source. rows: with source, start, seed and accuracy, as `run_cells` returns them."""
    found = {}
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source]
        starts = dict.fromkeys(row["start"] for row in own)
        accuracies = {s: {row["seed"]: row["accuracy"] for row in own if row["start"] == s} for s in starts}
        found[source] = compare_starts(accuracies, source, margin)
    return found


def statements_of(comparisons: Mapping[str, Sequence[Comparison]], cells: Sequence[Cell]) -> list[Statement]:
    """The paper's three statements by source, from the cells that speak of them: learned mask, redrawn rest."""
    told = [cell for cell in cells if (cell.mask, cell.rest) == ("learned", "init")]
    redrawn = [cell for cell in told if cell.magnitudes == "random"]
    signs = [cell.label for cell in redrawn if cell.signs == "final"]
    magnitudes = [c.label for c in told if (c.signs, c.magnitudes) == ("random", "learned")]
    early = {int(c.signs.partition(":")[2]): c.label for c in redrawn if c.signs.startswith("epoch:")}
    return [
        statement
        for own in comparisons.values()
        for statement in statements(own, signs="".join(signs), magnitudes="".join(magnitudes), early=early)
    ]


def paper_table(comparisons: Mapping[str, Sequence[Comparison]]) -> list[dict[str, Any]]:
    """One row a start and one column a source: mean accuracy ± half its 95 % interval, in percent."""
    starts = dict.fromkeys(comparison.start for own in comparisons.values() for comparison in own)
    table: list[dict[str, Any]] = []
    for start in starts:
        cells = {source: [c for c in own if c.start == start] for source, own in comparisons.items()}
        texts = {source: str(found[0].accuracy).partition(" (")[0] if found else "–" for source, found in cells.items()}
        table.append({"start of the sparse run": start, **texts})
    return table


def report(rows: Rows, cells: Sequence[Cell], margin: float, command: str) -> str:
    """The whole report as Markdown that a terminal can show."""
    comparisons = comparisons_of(rows, margin)
    density = {s: [r["density"] for r in rows if r["source"] == s and r["start"] == "baseline"] for s in comparisons}
    densities = ", ".join(f"{source} {sum(d) / len(d):.4f}" for source, d in density.items())
    found = statements_of(comparisons, cells)
    parts = [
        f"`{command}`\n\n",
        "Test accuracy in percent, mean ± 95 % interval over seeds; density " + densities + ".\n\n",
        aligned(paper_table(comparisons)),
        "\nDifferences from the baseline on the same seeds, in points; p of the paired t test, adjusted by Holm over "
        f"the starts of a source. Recovers: the 95 % interval lies above −{margin:g}. Falls short: p < 0.05 below the "
        "baseline, and not recovered.\n\n",
        aligned([_compared(c) for own in comparisons.values() for c in own if c.difference is not None]),
    ]
    if found:
        parts += ["\nThe paper's statements:\n\n", aligned([asdict(statement) for statement in found])]
    return "".join(parts)


def write_report(rows: Rows, cells: Sequence[Cell], margin: float, command: str, stem: Path) -> str:
    """Write stem.csv, one row a run, and stem.md, the report; returns the report."""
    output_directory("report", stem.parent)
    text = report(rows, cells, margin, command)
    write_csv(stem.with_suffix(".csv"), rows)
    write_text(stem.with_suffix(".md"), text)
    return text


def _compared(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    assert difference is not None
    return {
        "source": comparison.source,
        "start": comparison.start,
        "seeds": difference.n,
        "difference": f"{difference.mean:+.2f} ± {(difference.high - difference.low) / 2:.2f}",
        "p": comparison.p,
        "outcome": str(comparison.outcome),
    }
