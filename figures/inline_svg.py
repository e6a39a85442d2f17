"""A figure's SVG as part of a page: it takes the page's colours, light or dark, and names that no other figure has."""

import re
from pathlib import Path

# matplotlib's colours by the page's variables, which have a value for each theme
THEMED = {
    "#000000": "currentColor",
    "#ffffff": "none",
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--vermilion)",
    "#009e73": "var(--teal)",
    "#cc79a7": "var(--pink)",
    "#8a6d3b": "var(--hatch)",
}


def inlined(path: Path, key: str, caption: str) -> str:
    """The <svg> element of a file that matplotlib wrote.

    key: what all of its names begin with.   caption: the id of its description.
    """
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\b(id="|url\(#|href="#)', rf"\1{key}-", text)
    text = re.sub(r"#[0-9a-f]{6}\b(?=[^>]*\")", lambda found: THEMED.get(found[0], found[0]), text)
    text = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", text)
    size = re.search(r'width="([\d.]+)pt"', text)
    assert size is not None
    style = f'style="width: {float(size[1]) / 7.5:.1f}em" role="img" aria-labelledby="{caption}"'
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" {style}>', text, count=1)
