"""Rows as a table that a terminal shows aligned and that Markdown renders: one form for both.

It formats and never computes.
"""

from collections.abc import Mapping, Sequence
from typing import Any


def aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows, all with the keys of the first, as a padded Markdown table; numbers to the right, None as a dash."""
    if not rows:
        return ""
    texts = [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    heads = [str(key) for key in rows[0]]
    right = numeric(rows)
    widths = [max(len(text) for text in column) for column in zip(heads, *texts, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
        return f"| {' | '.join(padded)} |\n"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|\n"
    return line(heads) + rule + "".join(map(line, texts))


def numeric(rows: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Of each column of the first row, whether all its entries are numbers or missing."""
    return [all(isinstance(row[key], int | float | None) for row in rows) for key in rows[0]]


def cell(value: object) -> str:
    """A value as a reader wants it: floats to four significant digits, yes or no, absence as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("\n", "\\n")
