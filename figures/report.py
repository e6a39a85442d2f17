"""The report as one HTML file: numbered figures and tables, claims with their verdicts, no network and no script."""

import html
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from commons.files import write_text
from commons.tables import cell
from commons.verdicts import Verdict
from figures.inline_svg import inlined
from figures.joined import joined
from figures.mathml import command, plain
from figures.tables import Rows

MARKS = {Verdict.AGREES: "✓", Verdict.DISAGREES: "✕", Verdict.NOT_RESOLVED: "?", Verdict.NOT_TESTED: "–"}
WIDE = 7  # columns above which a table is wider than the text
NUMBER = re.compile(r"[−+-]?[\d.,]+(e-?\d+)?( %)?( ± [\d.]+)?|< [\d.]+|–|")  # what stands to the right


@dataclass(frozen=True)
class Picture:
    """A figure: its name, by which claims refer to it, the SVG file, a caption, and the command that draws it anew.

    Where the file's NAME-single.svg lies beside it, that one is for phones.
    """

    name: str
    path: Path
    caption: str
    command: str = ""


@dataclass(frozen=True)
class Table:
    """A table: its name, by which claims refer to it, a title, its rows, and whether it is folded at first."""

    name: str
    title: str
    rows: Rows
    folded: bool = False


@dataclass(frozen=True)
class Evidence:
    """Where a claim's numbers are: the names of a figure and of a table ("" for none), and a command for them alone."""

    figure: str = ""
    table: str = ""
    command: str = ""


@dataclass(frozen=True)
class Section:
    """A heading with its paragraphs, figures and tables. ready: HTML that stands between text and figures."""

    title: str
    text: str = ""
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    ready: str = ""


@dataclass(frozen=True)
class Numbers:
    """The numbers of figures and tables by name, in the order of the sections."""

    figures: Mapping[str, int]
    tables: Mapping[str, int]

    @classmethod
    def of(cls, sections: Sequence[Section]) -> "Numbers":
        figures = [picture.name for section in sections for picture in section.figures]
        tables = [table.name for section in sections for table in section.tables]
        return cls(*({name: i for i, name in enumerate(names, start=1)} for names in (figures, tables)))

    def links(self, evidence: Evidence) -> str:
        """Links to a claim's figure and table, and its command."""
        parts = []
        for kind, name, numbers in (
            ("figure", evidence.figure, self.figures),
            ("table", evidence.table, self.tables),
        ):
            if name in numbers:
                parts.append(f'<a href="#{kind}-{name}">{kind.capitalize()} {numbers[name]}</a>')
        if evidence.command:
            parts.append(command(evidence.command))
        return " ".join(parts) or "–"


def badge(verdict: str) -> str:
    """A verdict as a mark and a word, each kind in a colour of its own."""
    key = str(verdict).replace(" ", "-")
    mark = MARKS.get(Verdict(verdict), "")
    return f'<span class="badge {key}"><span aria-hidden="true">{mark}</span> {html.escape(str(verdict))}</span>'


def summary_strip(verdicts: Sequence[str]) -> str:
    """How many claims have each verdict."""
    counts = Counter(Verdict(verdict) for verdict in verdicts)
    items = "".join(
        f'<li class="{str(kind).replace(" ", "-")}"><b>{counts[kind]}</b> <span>{MARKS[kind]} {kind}</span></li>'
        for kind in Verdict
    )
    return f'<ul class="strip" aria-label="Verdicts on {len(verdicts)} claims">{items}</ul>\n'


def claims_table(rows: Rows, evidence: Sequence[Evidence], numbers: Numbers) -> str:
    """The claims with their verdicts as badges and links to what they rest on; on a phone each is a card.

    What was published stands below the claim, and the rung and the seeds that it would need beside the measurement.
    """

    def small(text: object, before: str = "") -> str:
        return f"<small>{before}{plain(cell(text))}</small>" if text not in (None, "", "–") else ""

    lines = [
        {
            "claim": f"<span>{plain(str(row['claim']))}</span>{small(row['published'], 'Published: ')}",
            "verdict": badge(row["verdict"]),
            "measured": small(row.get("rung"))
            + plain(cell(row["measured"]))
            + small(row.get("seeds to resolve it"), "seeds to resolve it: "),
            "elsewhere": plain(cell(row.get("elsewhere", "–"))),
            "evidence": numbers.links(found),
        }
        for row, found in zip(rows, evidence, strict=True)
    ]
    return _table(lines, "claims")


def html_table(rows: Rows) -> str:
    """Rows, all with the keys of the first, as a table whose texts are escaped; on a phone each row is a card."""
    texts = [{key: cell(value) for key, value in row.items()} for row in rows]
    numbers = {key for key in rows[0] if all(NUMBER.fullmatch(row[key]) for row in texts)}
    return _table([{key: plain(text) for key, text in row.items()} for row in texts], "", numbers)


def _table(rows: Sequence[Mapping[str, str]], kind: str, numbers: set[str] | None = None) -> str:
    """Cells that are HTML already as a table. The roles keep its meaning where a phone shows cards."""

    def aligned(key: str, value: str = "") -> str:
        empty = value in ("", "–")  # a card leaves it out
        kinds = ["number"] * (key in (numbers or ())) + ["empty"] * empty
        return f' class="{" ".join(kinds)}"' if kinds else ""

    heads = "".join(
        f'<th role="columnheader" scope="col"{aligned(key)}>{plain(key)}</th>' if key else '<td role="cell"></td>'
        for key in rows[0]
    )
    body = "".join(
        '<tr role="row">'
        + "".join(
            f'<td role="cell"{aligned(key, value)} data-label="{html.escape(key, quote=True)}"><div>{value}</div></td>'
            for key, value in row.items()
        )
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<table role="table" class="cards {kind}">\n<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}</tbody></table>\n'
    )


def paragraphs(text: str) -> str:
    """Text whose paragraphs are separated by empty lines."""
    return "".join(f"<p>{plain(part)}</p>\n" for part in text.split("\n\n") if part)


def _section(section: Section, number: int, numbers: Numbers) -> str:
    parts = [f'<section id="section-{number}">\n<h2><span>{number}</span> {plain(section.title)}</h2>\n']
    parts += [paragraphs(section.text), section.ready]
    for picture in section.figures:
        count, caption = numbers.figures[picture.name], f"caption-{picture.name}"
        redraw = command(picture.command) if picture.command else ""
        parts.append(
            f'<figure id="figure-{picture.name}">{_pictures(picture, caption)}\n'
            f'<figcaption><span id="{caption}"><b>Figure {count}.</b> {plain(picture.caption)}</span>'
            f" {redraw}</figcaption></figure>\n"
        )
    for table in section.tables:
        label, inside = f"Table {numbers.tables[table.name]}", html_table(table.rows)
        title = f"<b>{label}.</b> {plain(table.title)}"
        inside = f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{inside}</div>'
        kind = "table wide" if len(table.rows[0]) > WIDE else "table"
        if table.folded:
            parts.append(
                f'<details class="{kind}" id="table-{table.name}"><summary>{title}</summary>{inside}</details>\n'
            )
        else:
            parts.append(f'<div class="{kind}" id="table-{table.name}"><p class="caption">{title}</p>{inside}</div>\n')
    return "".join(parts) + "</section>\n"


def _pictures(picture: Picture, caption: str) -> str:
    """The picture, and the one for phones if there is one, of which the page shows one. caption: its id."""
    narrow = picture.path.with_name(f"{picture.path.stem}-single.svg")
    kinds = {"broad": picture.path, "narrow": narrow} if narrow.exists() else {"": picture.path}
    return "".join(
        f'<div class="picture {kind}" tabindex="0" role="group" aria-labelledby="{caption}">'
        f"{inlined(path, f'{picture.name}-{kind}' if kind else picture.name, caption)}</div>"
        for kind, path in kinds.items()
    )


def write_report(path: Path, title: str, introduction: str, sections: Sequence[Section]) -> None:
    """Write the sections as one self-contained page with a table of contents, whole or not at all."""
    numbers = Numbers.of(sections)
    contents = "".join(
        f'<li><a href="#section-{i}">{plain(section.title)}</a></li>' for i, section in enumerate(sections, start=1)
    )
    body = "".join(_section(section, i, numbers) for i, section in enumerate(sections, start=1))
    parts = {"title": html.escape(title), "introduction": plain(introduction), "contents": contents, "sections": body}
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], joined("report"))
    write_text(path, page)
