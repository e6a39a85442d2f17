"""The documentation: the code of every tutorial runs, and every link leads somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
from fixtures.chromium import PROGRAM, chromium

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


def test_two_checkpoints_are_compared_in_python_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def network() -> torch.nn.Module:
        return torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(3)))

    torch.manual_seed(0)
    monkeypatch.chdir(tmp_path)
    init, final = network(), network()
    torch.save(init.state_dict(), "init.pt")
    torch.save(final.state_dict(), "final.pt")
    text = (DOCS / "how-to" / "own-checkpoints.md").read_text()
    (code,) = re.findall(r"```python\n(import torch\n\nfrom sparse_training import.*?)```", text, re.DOTALL)
    names = {"network": network, "model": network(), "x": torch.randn(20, 16), "y": torch.arange(20) % 2}
    exec(compile(code, "own-checkpoints", "exec"), names)
    found: Any = names
    turned = (init[1].weight * final[1].weight < 0) & found["masks"]["1.weight"]
    assert found["flips"]["1.weight"].flipped == int(turned.sum())
    assert list(found["flips"]) == ["0.weight", "1.weight", "2.weight"]
    for name, mask in found["start"].masks.items():
        assert torch.equal(found["start"].state[name].sign(), found["final"][name].sign() * mask)
    assert found["sharpness"] > 0


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


@pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
def test_a_page_from_disk_has_a_worker_for_its_search(tmp_path: Path) -> None:
    (tmp_path / "helper.js").write_text("var twice = x => 2 * x;")
    (tmp_path / "own.js").write_text(
        "var ready = importScripts('helper.js');"
        "addEventListener('message', async ({ data }) => { await ready; postMessage(twice(data)); });"
    )
    (tmp_path / "page.html").write_text(f"<body><script>{(DOCS / 'worker.js').read_text()}</script></body>")
    with chromium() as tab:
        tab.open(tmp_path / "page.html")
        answer = """new Promise(done => {
          const worker = new Worker("own.js");
          worker.addEventListener("message", ({ data }) => { worker.terminate(); done(data); });
          worker.postMessage(21);
        })"""
        assert tab.evaluate(answer) == 42
        assert tab.evaluate("document.querySelectorAll('iframe').length") == 0
        assert tab.complaints == []
