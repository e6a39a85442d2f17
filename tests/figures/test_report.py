import base64
import csv
import re
from html.parser import HTMLParser
from pathlib import Path

from commons.tables import aligned
from figures.report import Section, write_report
from figures.tables import write_table

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ROWS = [{"claim": "a < b | c & d", "measured": 0.123456789, "n": 3, "holds": True, "published": None}]


class References(HTMLParser):
    """Collects every address that a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in {"src", "href", "action", "data"}]
        assert tag != "script"


def test_the_report_stands_alone_and_escapes_its_texts(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PIXEL)
    section = Section(
        "A <b> title", "text & more", [(tmp_path / "x.png", 'a "caption"')], [("t", ROWS)], [("log", "<i>")]
    )
    write_report(tmp_path / "report.html", "Signs", "Introduction", [section])
    page = (tmp_path / "report.html").read_text()
    references = References()
    references.feed(page)
    assert len(references.found) == 1
    assert base64.b64decode(references.found[0].removeprefix("data:image/png;base64,")) == PIXEL
    assert not re.search(r"https?:|url\(|@import", page)
    assert "<i>" not in page
    assert "a &lt; b | c &amp; d" in page


def test_csv_keeps_what_markdown_rounds(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["measured"]) == 0.123456789
    assert (tmp_path / "t.md").read_text() == aligned(ROWS)
    assert "0.1235" in aligned(ROWS)
