"""Rows of results as CSV, Markdown and HTML: one list of mappings, three forms.

Numbers are formatted here and computed elsewhere.
"""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commons.files import write_csv, write_text
from commons.tables import aligned, cell

Rows = Sequence[Mapping[str, Any]]


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
