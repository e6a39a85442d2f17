"""Rows of results: read from CSV, and written as CSV, Markdown and HTML."""

import csv
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commons.files import read_text, unreadable, write_csv, write_text
from commons.tables import aligned, cell

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


def html_table(rows: Rows) -> str:
    """Rows, all with the keys of the first, as an HTML table; every text is escaped."""

    def line(tag: str, values: Sequence[object]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell(value))}</{tag}>" for value in values) + "</tr>\n"

    body = "".join(line("td", list(row.values())) for row in rows)
    return f"<table>\n<thead>{line('th', list(rows[0]))}</thead>\n<tbody>\n{body}</tbody></table>\n"


def write_table(rows: Rows, stem: Path) -> None:
    """Write stem.csv with full precision and stem.md as it is read."""
    write_csv(stem.with_suffix(".csv"), rows)
    write_text(stem.with_suffix(".md"), aligned(rows))
