"""Report and explorer in headless Chromium: nothing is asked for, nothing scrolls sideways, all text can be read."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures.chromium import PROGRAM, Page, chromium
from fixtures.report import whole_report

from figures.explorer import write_explorer

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here")
CONTRAST = """
(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const colour = channels(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll("body *:not(svg *):not(script)")) {
    const own = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!own || !node.checkVisibility()) continue;
    const [first, second] = [channels(getComputedStyle(node).color), ground(node)].map(light);
    const ratio = (Math.max(first, second) + 0.05) / (Math.min(first, second) + 0.05);
    if (ratio < 4.5) low.push([node.outerHTML.slice(0, 80), ratio]);
  }
  return low;
})()
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    write_explorer(folder / "explorer.html")
    return {"report": whole_report(folder), "explorer": folder / "explorer.html"}


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.mark.parametrize("name", ["report", "explorer"])
def test_a_page_fits_every_width_and_can_be_read_in_both_themes(name: str, pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages[name])
    tab.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    for width in (360, 768, 1280):
        for dark in (False, True):
            tab.look(width, dark=dark)
            assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
            assert tab.evaluate(CONTRAST) == []
    assert tab.complaints == []
    assert tab.requests == [pages[name].resolve().as_uri()]


def test_on_a_phone_a_row_is_a_card_and_a_figure_follows_the_theme(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["report"])
    tab.look(360)
    assert tab.evaluate("getComputedStyle(document.querySelector('.claims tr td')).display") == "block"
    ink = "getComputedStyle(document.querySelector('.picture svg text')).fill"
    light = tab.evaluate(ink)
    tab.look(360, dark=True)
    assert tab.evaluate(ink) != light
    tab.look(1280)
    assert tab.evaluate("getComputedStyle(document.querySelector('.claims tr td')).display") == "table-cell"


def test_a_phone_shows_the_figure_that_fits_it_and_leaves_out_empty_cells(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["report"])
    shown = "[...document.querySelectorAll('#figure-theorems .picture')].map(each => each.checkVisibility())"
    cut = "[...document.querySelectorAll('.picture')].filter(each => each.scrollWidth > each.clientWidth).length"
    empty = (
        "[...document.querySelectorAll('td')].filter(each => each.checkVisibility() && !/[^–\\s]/.test(each.innerText))"
    )
    tab.look(1280)
    assert tab.evaluate(shown) == [True, False]
    tab.look(360)
    assert tab.evaluate(shown) == [False, True]
    assert tab.evaluate(cut) == 0
    assert tab.evaluate(f"{empty}.length") == 0


def test_nothing_is_cut_from_a_printed_page(pages: dict[str, Path], tab: Page) -> None:
    tab.open(pages["report"])
    tab.look(718)  # the width of A4 within its margins
    tab.send("Emulation.setEmulatedMedia", media="print")
    beyond = "[...document.querySelectorAll('main *')].filter(each => each.getBoundingClientRect().right > 719)"
    cut = tab.evaluate(f"{beyond}.filter(each => !each.closest('math')).map(each => each.outerHTML.slice(0, 80))")
    tab.send("Emulation.setEmulatedMedia", media="")
    assert cut == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm; the test is skipped where that cannot be had."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("there is no npm here")
    asked = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", "axe-core@4"]
    if subprocess.run(asked, capture_output=True, check=False, timeout=120).returncode:
        pytest.skip("npm cannot install axe-core here")
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report", "explorer"])
def test_axe_finds_no_violation(name: str, pages: dict[str, Path], tab: Page, axe: str) -> None:
    tab.open(pages[name])
    for width, dark in ((360, False), (1280, True)):
        tab.look(width, dark=dark)
        tab.evaluate(f"{axe}; 0")
        found = tab.evaluate(
            "axe.run().then(({ violations }) => violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))"
        )
        assert found == [], json.dumps(found, indent=1)
