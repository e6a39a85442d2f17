import csv
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fixtures.report import CLAIMS, whole_report
from matplotlib import pyplot as plt

from commons.tables import aligned
from commons.verdicts import Verdict
from figures.mathml import inline, plain, prose, relation
from figures.report import Numbers, Picture, Section, Table, badge, write_report
from figures.style import paper_style, save_figure
from figures.tables import write_table
from theory import THEOREMS
from theory.proof import equal

ROWS = [{"claim": "a < b | c & d", "measured": 0.123456789, "n": 3, "holds": True, "published": None}]


class Parts(HTMLParser):
    """Collects ids, links within the page, tags, and every address that a browser would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"] or ""] if "id" in given else []
        for name in ("src", "href", "action", "data", "xlink:href"):
            address = given.get(name) or ""
            if address.startswith("#"):
                self.links.append(address[1:])
            elif address and not address.startswith("data:"):
                self.fetched.append(address)


def test_the_report_stands_alone_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    path = whole_report(tmp_path)
    page = path.read_text()
    parts = Parts(page)
    assert parts.fetched == []
    assert "script" not in parts.tags
    assert not re.search(r"https?://(?!www\.w3\.org)|@import", page)
    assert len(set(parts.ids)) == len(parts.ids)
    assert set(parts.links) <= set(parts.ids)
    assert path.stat().st_size < 3e6
    assert "{{" not in page


def test_every_tested_claim_leads_to_a_table_and_a_command(tmp_path: Path) -> None:
    page = whole_report(tmp_path).read_text()
    rows = re.findall(r'<tr role="row">(.*?)</tr>', page[page.index('class="cards claims"') :], flags=re.DOTALL)[1:]
    for (claim, verdict), row in zip(CLAIMS, rows, strict=False):
        assert plain(claim) in row
        assert badge(verdict) in row
        assert ("#table-" in row) == (verdict is not Verdict.NOT_TESTED)
        assert ("<code>" in row) == (verdict is not Verdict.NOT_TESTED)
        assert ("#figure-" in row) == (verdict is not Verdict.NOT_TESTED and "beats" not in claim)
    counts = re.findall(r"<b>(\d+)</b> <span>. ([a-z ]+)</span>", page)
    assert counts == [("2", "agrees"), ("1", "disagrees"), ("2", "not resolved"), ("1", "not tested")]


def test_texts_are_escaped_and_figures_and_tables_numbered(tmp_path: Path) -> None:
    with paper_style():
        figure, axes = plt.subplots()
        axes.set_title("<i>")
        save_figure(figure, tmp_path / "x")
    sections = [
        Section("A <b> title", "text & more", [Picture("one", tmp_path / "x.svg", 'a "caption" <u>')]),
        Section("B", figures=[Picture("two", tmp_path / "x.svg", "c")], tables=[Table("t", "<s>", ROWS)]),
    ]
    write_report(tmp_path / "report.html", "Signs", "Introduction", sections)
    page = (tmp_path / "report.html").read_text()
    assert Numbers.of(sections) == Numbers({"one": 1, "two": 2}, {"t": 1})
    assert not re.search(r"<[ius]>", page)
    assert "a\u00a0&lt;\u00a0b | c &amp; d" in page
    assert "Figure 2." in page
    parts = Parts(page)
    assert len(set(parts.ids)) == len(parts.ids)  # the same picture twice, with names of its own each time


def test_a_theorem_whose_proof_is_not_there_is_not_called_proved(tmp_path: Path) -> None:
    from figures.statements import theorem_html

    theorem = THEOREMS[0]
    steps = [{"claim": step.claim, "holds": i != 3} for i, step in enumerate(theorem.steps)]
    page = theorem_html([{"theorem": f"{theorem.name}. {theorem.title}", "proved": False, "steps": steps}])
    assert "✓" not in page
    assert page.count("(not proved)") == sum(len(theorem.steps) for theorem in THEOREMS) - len(theorem.steps) + 1


def test_mathematics_is_typeset() -> None:
    assert inline(r"\frac12 a_0^2") == (
        "<math><mrow><mfrac><mn>1</mn><mn>2</mn></mfrac><msubsup><mi>a</mi><mn>0</mn><mrow><mn>2</mn></mrow></msubsup>"
        "</mrow></math>"
    )
    assert inline("a = f(b + c), d").count("<math>") == 3
    assert "<msqrt>" in prose(r"so $\sqrt{4\theta^2}$ <")
    assert prose("a < $b$").startswith("a &lt; <math>")
    assert plain("S_w − λ_max, since_init, -2") == "S<sub>w</sub> − λ<sub>max</sub>, since_init, −2"
    with pytest.raises(ValueError, match="unheard"):
        inline(r"\unheard")
    import sympy as sp

    x, y = sp.symbols("x y")
    typeset = relation(equal("", sp.Subs(x**2, x, y), y**2))
    assert "<mo>|</mo>" in typeset
    assert "subs" not in typeset


def test_csv_keeps_what_markdown_rounds(tmp_path: Path) -> None:
    write_table(ROWS, tmp_path / "t")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["measured"]) == 0.123456789
    assert (tmp_path / "t.md").read_text() == aligned(ROWS)
    assert "0.1235" in aligned(ROWS)


def test_no_line_is_broken_beside_the_sign_of_a_relation() -> None:
    assert plain("from a < 0 < w, 90 % of it") == "from a\u00a0&lt;\u00a00\u00a0&lt;\u00a0w, 90\u00a0% of it"
