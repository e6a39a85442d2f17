"""Rows of results: read from CSV, and written as CSV, Markdown and LaTeX."""

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commons.files import read_text, unreadable, write_csv, write_text
from commons.tables import aligned, cell, numeric

Rows = Sequence[Mapping[str, Any]]


def read_table(path: Path, texts: Sequence[str] = (), numbers: Sequence[str] = ()) -> list[dict[str, str]]:
    """Rows of a CSV file. texts, numbers: columns that it must have; an entry of the latter may be empty.

    Raises:
        InputError: the file cannot be read, has no row or lacks a column, or an entry is no finite number.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path))))
    except csv.Error as error:
        unreadable(path, str(error))
    if not rows:
        unreadable(path, "it has no rows")
    for place, row in enumerate(rows, start=2):
        for column in (*texts, *numbers):
            if row.get(column) is None:
                unreadable(path, f"line {place}: it has no column {column!r}")
        for column in numbers:
            if row[column] and not _is_number(row[column]):
                unreadable(path, f"line {place}: {column}={row[column]!r} is not a finite number")
    return rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


MINUS = re.compile(r"(?<![\w-])-(?=[\d.])")  # a hyphen that is a sign
TEX = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "−": "$-$",
    "→": r"$\to$",
    "–": "--",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
}
TEX |= {letter: rf"\{letter}" for letter in "&%$#_{}"} | {"^": r"\^{}", "~": r"\~{}", "·": r"$\cdot$", "‖": r"$\|$"}
TEX |= {"β": r"$\beta$", "λ": r"$\lambda$", "₀": "$_0$", "₁": "$_1$", "₂": "$_2$", "∞": r"$\infty$", "×": r"$\times$"}


def booktabs(rows: Rows) -> str:
    """Rows as a LaTeX tabular with the rules of the package booktabs; columns of numbers stand to the right."""

    def line(values: Sequence[object]) -> str:
        texts = (MINUS.sub("−", cell(value)) for value in values)
        return " & ".join("".join(TEX.get(letter, letter) for letter in text) for text in texts) + r" \\"

    columns = "".join("r" if right else "l" for right in numeric(rows))
    body = "\n".join(line(list(row.values())) for row in rows)
    head = f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{line(list(rows[0]))}\n\\midrule\n"
    return f"{head}{body}\n\\bottomrule\n\\end{{tabular}}\n"


def write_table(rows: Rows, stem: Path) -> None:
    """Write stem.csv with full precision, stem.md as it is read, and stem.tex for an article (package booktabs)."""
    write_csv(stem.with_name(f"{stem.name}.csv"), rows)
    write_text(stem.with_name(f"{stem.name}.md"), aligned(rows))
    write_text(stem.with_name(f"{stem.name}.tex"), booktabs(rows))
