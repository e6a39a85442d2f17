"""A page of figures/pages as one HTML file: its style sheets and scripts are put where the page names them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGES = Path(__file__).with_name("pages")
LINK = re.compile(r'<link rel="stylesheet" href="([^"]+)">')
SCRIPT = re.compile(r'<script src="([^"]+)"></script>')


def joined(name: str, data: Mapping[str, Any] | None = None) -> str:
    """The page pages/NAME/page.html without references to other files.

    data: values that scripts read as JSON from the element with the id "data"; it stands before the first script.
    """
    folder = PAGES / name

    def part(address: str) -> str:
        return (folder / address).read_text(encoding="utf-8")

    page = part("page.html")
    if data is not None:
        page = page.replace("</body>", f"{embedded(data)}\n</body>")
    page = LINK.sub(lambda found: f"<style>\n{part(found[1])}</style>", page)
    scripts = "".join(part(address).replace('"use strict";\n', "", 1) for address in SCRIPT.findall(page))
    if scripts:
        page = SCRIPT.sub("", page).replace("</body>", f'<script>\n"use strict";\n{scripts}</script>\n</body>')
    return re.sub(r"\n\n+", "\n", page)


def embedded(data: Mapping[str, Any]) -> str:
    """Values as a script element with the id "data", in which no text can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="data">{text}</script>'
