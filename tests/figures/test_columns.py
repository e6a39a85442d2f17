"""Figures fit a journal's column in width, text of 6 points and nothing cut, and can be read without colour."""

import re
from collections.abc import Callable
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text

from commons import InputError
from dynamics import Outcome, PhaseDiagram, Sweep, phase_diagram
from dynamics.geometry import LAWS
from dynamics.sweeps import step
from figures import phase_diagrams as phases
from figures import plot
from figures.__main__ import main
from figures.bars import bars_figure
from figures.geometry import geometry_figure
from figures.sharpness import density_figure, eigenvalues_figure, line_figure, sharpness_figure
from figures.signs import flips_figure
from figures.speeds import speeds_figure
from figures.stored import STORED
from figures.style import ARMS, COLOURS, DASHES, Style, paper_style, save_figure, styles
from figures.sweeps import sweep_figure
from figures.transplant import transplant_figure
from theory import Flow, Power, SignIn, Standard

RESULTS = Path(__file__).parents[2] / "results"
WIDTHS = {"single": 85, "double": 178}  # millimetres
SHORT = 245  # millimetres: what a page holds


@cache
def diagram(flow: Flow) -> PhaseDiagram:
    return phase_diagram(flow, grid=16)


def shares() -> Sweep:
    flows = ("standard flow", "Sign-In under sign descent, λ_a = 1, λ_w = 0.25", "HAM, α_a = 2, α_w = 8")
    labels = [f"{law}: {flow}, {speeds}" for law in LAWS for flow in flows for speeds in ("own", "matched")]
    rate = np.linspace(0.1, 0.9, 3 * len(labels)).reshape(3, -1)
    x, y = np.geomspace(0.1, 10, 3), np.arange(len(labels))
    return Sweep("t", "x", "y", x, y, rate, rate - 0.1, rate + 0.1, {"y_labels": labels})


def flips() -> Figure:
    rows = [
        {"arm": arm, "seed": seed, "epoch": epoch, "layer": layer, "since_init": 0.1 * epoch, "since_previous": 0.1}
        for arm in ARMS
        for seed in (0, 1)
        for epoch in (0, 1, 2)
        for layer in (*(f"stage{i}.0.conv1.weight" for i in range(8)), "total")
    ]
    return flips_figure(rows)


def transplants() -> Figure:
    starts = ("baseline", "signs of epoch 10 + learned mask", "final magnitudes + learned mask (random signs)")
    cells = [(source, start, seed) for source in ("acdc", "rigl", "str") for start in starts for seed in range(3)]
    return transplant_figure(
        [{"source": source, "start": start, "accuracy": 90 + len(start) / 9 + seed} for source, start, seed in cells]
    )


def eigenvalues() -> Figure:
    row = {"quantity": "λ_max", "space": "theta", "converged": "True"}
    names = ("digits-mlp-sign-in-density-0.1", "digits-mlp-plain-density-0.1")
    return eigenvalues_figure({name: [{"epoch": e, "value": e + 1, **row} for e in range(3)] for name in names})


def speeds() -> Figure:
    told = {"mean": 1.0, "low": 0.9, "high": 1.2, "above": 0.3, "beta": 0.9, "decay": 1e-4}
    return speeds_figure([{"epoch": e, "speeds": {f"layer{k}": told for k in range(4)}} for e in range(3)])


NUMBERS = np.linspace(0, 1, 5)
FIGURES: dict[str, Callable[[], Figure]] = {
    "phase": lambda: phases.phase_figure(diagram(Power(0.7))),
    "theorems": lambda: phases.theorems_figure([diagram(f) for f in (Standard(), SignIn(1, 0.25), SignIn(0.25, 1))]),
    "theorem": lambda: phases.theorems_figure([diagram(SignIn(1, 0.25)), diagram(Power(0.7))]),
    "compare": lambda: phases.comparison_figure(diagram(SignIn(1, 0.25)), diagram(Standard())),
    "geometry": lambda: geometry_figure(shares()),
    "sweep": lambda: sweep_figure(step(grid=3, starts=2, steps=9)),
    "flips": flips,
    "transplant": transplants,
    "eigenvalues": eigenvalues,
    "line": lambda: line_figure([{"t": x, "loss": x, "parabola": x**2} for x in NUMBERS]),
    "density": lambda: density_figure(dict.fromkeys(("grid", "mean", "low", "high"), NUMBERS + 1), 1.5),
    "sharpness": lambda: sharpness_figure(
        [{"arm": arm, "largest Hessian eigenvalue": k} for arm in ARMS for k in (1.0, 2.0)]
    ),
    "speeds": speeds,
    "bars": lambda: bars_figure({"million starts a second": {"ours": 3e6, "another solver": 10.0}}, logarithmic=True),
    **{
        name: lambda kept=kept: kept.draw(kept.found(RESULTS))  # type: ignore[misc]
        for name, kept in STORED.items()
        if all((RESULTS / file).is_file() for file in kept.files)
    },
}


def fits(figure: Figure) -> None:
    """No text is below 6 points, and all that is drawn lies on the page."""
    figure.canvas.draw()
    page = figure.get_size_inches()
    for text in (text for text in figure.findobj(Text) if text.get_text() and text.get_visible()):
        assert text.get_fontsize() >= 6, text
    box = figure.get_tightbbox()
    assert min(box.x0, box.y0, *(page - (box.x1, box.y1))) > -0.005, (box, page)


@pytest.mark.parametrize("column", WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.filterwarnings("error:constrained_layout")
def test_a_figure_fits_the_column(name: str, column: str) -> None:
    with paper_style(column):
        figure = FIGURES[name]()
        fits(figure)
        across, down = 25.4 * figure.get_size_inches()
    assert across == pytest.approx(WIDTHS[column])
    assert down < SHORT


@pytest.mark.parametrize("column", WIDTHS)
def test_the_page_of_a_file_is_as_wide_as_the_column(column: str, tmp_path: Path) -> None:
    stored = str(RESULTS / "transplant_digits.csv")
    assert main(["transplant", stored, "--column", column, "--out", str(tmp_path / "a.pdf")]) == 0
    page = re.search(rb"/MediaBox \[\s*0 0 ([\d.]+) ([\d.]+)", (tmp_path / "a.pdf").read_bytes())
    assert page
    assert float(page[1]) == pytest.approx(WIDTHS[column] / 25.4 * 72, abs=0.01)


def test_a_result_of_ones_own_is_drawn_at_either_width() -> None:
    for column, across in WIDTHS.items():
        figure = plot(Standard(), column=column).get_figure(root=True)
        assert figure is not None
        assert 25.4 * figure.get_figwidth() == pytest.approx(across)
        plt.close(figure)
    with pytest.raises(InputError, match="did you mean single"):
        plot(Standard(), column="singel")


def test_a_figure_of_ones_own_takes_the_column_too(tmp_path: Path) -> None:
    with paper_style("double"):
        (_, page, _) = save_figure(plt.subplots()[0], tmp_path / "own")
    assert page.read_bytes().find(b"504.56") > 0


# Machado, Oliveira and Fernandes 2009, Table 1 at severity 1: how linear RGB looks without one kind of cone.
DEFICIENT = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, kind: str = "") -> np.ndarray:
    """CIELAB of a colour on white paper (D65), as people with a deficiency see it."""
    red, green, blue, alpha = to_rgba(colour)
    shown = alpha * np.array([red, green, blue]) + 1 - alpha
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(DEFICIENT[kind]) @ linear, 0, 1) if kind else linear
    x, y, z = (TO_XYZ @ seen) / TO_XYZ.sum(axis=1)
    cube = [t ** (1 / 3) if t > (6 / 29) ** 3 else t * (29 / 6) ** 2 / 3 + 4 / 29 for t in (x, y, z)]
    return np.array([116 * cube[1] - 16, 500 * (cube[0] - cube[1]), 200 * (cube[1] - cube[2])])


def lightness(colour: str) -> float:
    return float(lab(colour)[0])


@pytest.mark.parametrize("kind", ["", *DEFICIENT])
def test_colours_differ_for_every_colour_vision(kind: str) -> None:
    for first, second in combinations(COLOURS, 2):
        assert np.linalg.norm(lab(first, kind) - lab(second, kind)) > 12, (first, second)
    kinds = [phases.COLOURS[outcome] for outcome in (Outcome.RECOVERED, Outcome.STUCK)]
    assert np.linalg.norm(lab(kinds[0], kind) - lab(kinds[1], kind)) > 12


def test_grey_tells_arms_and_outcomes_apart() -> None:
    def line(style: Style) -> str:
        return str(style.dashes)

    unknown = list(styles(f"arm {k}" for k in range(len(COLOURS))).values())
    for group in (list(ARMS.values()), unknown):
        assert len({style.marker for style in group}) == len(group)
        for first, second in combinations(group, 2):
            differ = abs(lightness(first.colour) - lightness(second.colour))
            assert line(first) != line(second) or differ > 15, (first, second)
    assert len({str(dashes) for dashes in DASHES}) == len(DASHES)
    for looks, hatches in (
        ({kind: phases.COLOURS[kind] for kind in Outcome}, phases.HATCHES),
        ({kind: colour for kind, (_, colour) in phases.DIFFERENCES.items()}, phases.DIFFERENCE_HATCHES),
    ):
        for a, b in combinations(looks, 2):
            same = hatches.get(a) == hatches.get(b)
            assert not same or abs(lightness(looks[a]) - lightness(looks[b])) > 5, (a, b)


def test_a_rate_is_lighter_the_larger_it_is_also_in_grey() -> None:
    colours = plt.get_cmap("cividis")(np.linspace(0, 1, 32))
    greys = [to_rgb(tuple(colour)) @ np.array([0.299, 0.587, 0.114]) for colour in colours]
    assert np.all(np.diff(greys) > 0)
