"""One HTML file that opens from disk: text, tables and inlined figures, no network and no script."""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commons.files import write_text
from figures.tables import Rows, html_table

STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 Georgia, serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1, h2 { line-height: 1.2; font-weight: 600 } h2 { margin-top: 3rem; border-top: 1px solid #8884; padding-top: 1rem }
table { border-collapse: collapse; display: block; overflow-x: auto;
        font: 13px/1.4 system-ui, sans-serif; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid #8884; vertical-align: top }
th { border-bottom: 2px solid #8888 }
figure { margin: 1.5rem 0 } img { max-width: 100%; max-height: 32rem; background: white }
figcaption, details { font: 13px/1.4 system-ui, sans-serif } summary { cursor: pointer }
pre { font-size: 12px; overflow-x: auto }
"""


@dataclass(frozen=True)
class Section:
    """A heading with its text, figures (PNG path, caption), tables (title, rows) and long listings (title, text)."""

    title: str
    text: str = ""
    figures: Sequence[tuple[Path, str]] = ()
    tables: Sequence[tuple[str, Rows]] = ()
    listings: Sequence[tuple[str, str]] = ()

    def html(self) -> str:
        parts = [f"<h2>{html.escape(self.title)}</h2>\n"]
        parts += [f"<p>{html.escape(paragraph)}</p>\n" for paragraph in self.text.split("\n\n") if paragraph]
        parts += [f"<p><b>{html.escape(title)}</b></p>\n{html_table(rows)}" for title, rows in self.tables]
        for path, caption in self.figures:
            data = base64.b64encode(path.read_bytes()).decode()
            alt = html.escape(caption, quote=True)
            parts.append(
                f'<figure><img alt="{alt}" src="data:image/png;base64,{data}">\n'
                f"<figcaption>{html.escape(caption)}</figcaption></figure>\n"
            )
        for title, text in self.listings:
            parts.append(f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(text)}</pre></details>\n")
        return "".join(parts)


def write_report(path: Path, title: str, introduction: str, sections: Sequence[Section]) -> None:
    """Write the sections as one self-contained page, whole or not at all."""
    body = "".join(section.html() for section in sections)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n<p>{html.escape(introduction)}</p>\n{body}</body></html>\n",
    )
