"""The documentation: the code of every tutorial runs, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
TUTORIALS = sorted(DOCS.glob("tutorials/*.md"))
BLOCK = re.compile(r"^```python exec=[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
GENERATED = re.compile(r"(rooms|results|reference)/|explorer\.html$")


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_code_of_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = BLOCK.findall(page.read_text())
    assert len(blocks) > 1
    names: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_links_lead_to_pages(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        target = (page.parent / link).resolve()
        place = target.relative_to(DOCS).as_posix()
        assert target.exists() or (GENERATED.match(place) and _source(place).exists()), f"{link} leads nowhere"


def _source(place: str) -> Path:
    """What a generated page is made from."""
    root, (folder, name) = DOCS.parent, place.split("/", 1) if "/" in place else ("", place)
    if folder == "rooms":
        return root / name.removesuffix(".md").replace("-", "/", 1) / "README.md"
    return root / "results" / name if folder == "results" else root / "figures"


def test_every_page_is_in_the_contents() -> None:
    contents = (DOCS.parent / "mkdocs.yml").read_text()
    missing = [page for page in DOCS.rglob("*.md") if f": {page.relative_to(DOCS).as_posix()}" not in contents]
    assert not missing
