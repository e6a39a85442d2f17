"""Rows of runs as the report of a transplant: the paper's table, comparisons and statements, as CSV and Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commons.files import output_directory, write_csv, write_text
from commons.tables import aligned
from sparse_training.transplant.cell import Cell
from sparse_training.transplant.verdict import BASELINE, Comparison, Roles, Statement, compare_starts, statements

Rows = Sequence[Mapping[str, Any]]


def accuracies_of(rows: Rows, source: str) -> dict[str, dict[int, float]]:
    """Accuracies of one source by start and seed, in percent."""
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["source"] == source:
            found.setdefault(row["start"], {})[row["seed"]] = row["accuracy"]
    return found


def comparisons_of(rows: Rows, margin: float) -> dict[str, list[Comparison]]:
    """Comparisons by source. rows: with source, start, seed, accuracy and same_as, as `run_cells` returns them."""
    found = {}
    for source in dict.fromkeys(row["source"] for row in rows):
        same = {row["start"]: row["same_as"] for row in rows if row["source"] == source and row["same_as"]}
        found[source] = compare_starts(accuracies_of(rows, source), source, margin, same)
    return found


def statements_of(rows: Rows, cells: Sequence[Cell], margin: float) -> list[Statement]:
    """The paper's statements by source, from the cells that speak of them: learned mask, redrawn rest."""
    found = comparisons_of(rows, margin)
    roles = roles_of(cells)
    return [s for source, own in found.items() for s in statements(own, accuracies_of(rows, source), roles)]


def roles_of(cells: Sequence[Cell]) -> Roles:
    """Which of the cells the paper's statements speak of."""
    told = [cell for cell in cells if (cell.mask, cell.rest) == ("learned", "init")]
    label = {(cell.signs, cell.magnitudes): cell.label for cell in told}
    return Roles(
        signs=label.get(("final", "random"), ""),
        magnitudes=label.get(("random", "learned"), ""),
        random=label.get(("random", "random"), ""),
        early={c.early_epoch: c.label for c in told if c.early_epoch is not None and c.magnitudes == "random"},
    )


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
    density = {s: [r["density"] for r in rows if r["source"] == s and r["start"] == BASELINE] for s in comparisons}
    densities = ", ".join(f"{source} {sum(d) / len(d):.4f}" for source, d in density.items())
    found = statements_of(rows, cells, margin)
    repeats = _told_repeats(comparisons)
    parts = [
        f"`{command}`\n\n",
        "Test accuracy in percent, mean ± 95 % interval over seeds; density " + densities + ".\n\n",
        aligned(paper_table(comparisons)),
        "\nDifferences from the baseline on the same seeds, in points; p of the paired t test, adjusted by Holm over "
        "the starts of a source. The claim that a start recovers the baseline agrees where the 95 % interval lies "
        f"above −{margin:g}, and otherwise disagrees where the start is below the baseline with p < 0.05.",
        repeats,
        "\n\n",
        aligned([_compared(c, bool(repeats)) for own in comparisons.values() for c in own if c.difference is not None]),
    ]
    if found:
        parts += ["\nThe paper's statements:\n\n", aligned([asdict(statement) for statement in found])]
    return "".join(parts)


def _told_repeats(comparisons: Mapping[str, Sequence[Comparison]]) -> str:
    if not any(c.same_as for own in comparisons.values() for c in own):
        return ""
    return (
        " A start whose signs differ from another's in less than 1 % of the active weights, and in nothing else, is "
        'the same experiment: it counts once, with the p and the verdict of the start named under "same as".'
    )


def write_report(rows: Rows, cells: Sequence[Cell], margin: float, command: str, stem: Path) -> str:
    """Write stem.csv, one row a run, and stem.md, the report; returns the report."""
    output_directory("report", stem.parent)
    text = report(rows, cells, margin, command)
    write_csv(stem.with_suffix(".csv"), rows)
    write_text(stem.with_suffix(".md"), text)
    return text


def _compared(comparison: Comparison, repeats: bool) -> dict[str, Any]:
    """A line of the table of differences. repeats: whether the table says which start is the same as another."""
    difference = comparison.difference
    assert difference is not None
    row = {
        "source": comparison.source,
        "start": comparison.start,
        "seeds": difference.n,
        "difference": f"{difference.mean:+.2f} ± {(difference.high - difference.low) / 2:.2f}",
        "p": comparison.p,
        "recovers": str(comparison.recovers),
    }
    return row | {"same as": comparison.same_as or None} if repeats else row
